package edge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
)

func trusted(t *testing.T, list ...string) Trusted {
	t.Helper()
	balancers, err := ParseTrusted(list)
	require.NoError(t, err)
	return balancers
}

func TestWhoseWordCountsForAnAddress(t *testing.T) {
	balancers := trusted(t, "10.0.0.0/24", "192.0.2.1", "2001:db8::/48")
	for name, c := range map[string]struct {
		remote string
		sent   []string // lines of X-Forwarded-For
		want   string
	}{
		"one balancer":                      {"10.0.0.5", []string{"203.0.113.9"}, "203.0.113.9"},
		"a single address is trusted":       {"192.0.2.1", []string{"203.0.113.9"}, "203.0.113.9"},
		"the one beside it is not":          {"192.0.2.2", []string{"203.0.113.9"}, "192.0.2.2"},
		"a stranger":                        {"203.0.113.1", []string{"203.0.113.9"}, "203.0.113.1"},
		"a stranger who names a balancer":   {"203.0.113.1", []string{"10.0.0.5"}, "203.0.113.1"},
		"nothing said":                      {"10.0.0.5", nil, "10.0.0.5"},
		"what the client had sent before":   {"10.0.0.5", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		"as a line of its own":              {"10.0.0.5", []string{"1.1.1.1", "203.0.113.9"}, "203.0.113.9"},
		"a chain of balancers":              {"10.0.0.5", []string{"1.1.1.1, 203.0.113.9, 10.0.0.7,192.0.2.1"}, "203.0.113.9"},
		"over lines":                        {"10.0.0.5", []string{"1.1.1.1, 203.0.113.9", "10.0.0.7"}, "203.0.113.9"},
		"balancers all the way":             {"10.0.0.5", []string{"10.0.0.9, 10.0.0.7"}, "10.0.0.9"},
		"no address":                        {"10.0.0.5", []string{"unknown"}, "10.0.0.5"},
		"no address behind one":             {"10.0.0.5", []string{"1.1.1.1, unknown"}, "10.0.0.5"},
		"no address behind a balancer's":    {"10.0.0.5", []string{"1.1.1.1, , 10.0.0.7"}, "10.0.0.7"},
		"an empty line behind":              {"10.0.0.5", []string{"1.1.1.1", ""}, "10.0.0.5"},
		"nobody's address":                  {"10.0.0.5", []string{"0.0.0.0"}, "10.0.0.5"},
		"with a zone":                       {"10.0.0.5", []string{"fe80::1%eth0"}, "10.0.0.5"},
		"with a port":                       {"10.0.0.5", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6":                              {"2001:db8::1", []string{"2001:DB8:1::9"}, "2001:db8:1::9"},
		"IPv6 in brackets":                  {"2001:db8::1", []string{"[2001:db8:1::9]"}, "2001:db8:1::9"},
		"IPv6 with a port":                  {"2001:db8::1", []string{"[2001:db8:1::9]:4711"}, "2001:db8:1::9"},
		"half a bracket":                    {"2001:db8::1", []string{"[2001:db8:1::9"}, "2001:db8::1"},
		"IPv4 inside of IPv6":               {"::ffff:10.0.0.5", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"a balancer's inside of IPv6":       {"10.0.0.5", []string{"203.0.113.9, ::ffff:10.0.0.7"}, "203.0.113.9"},
		"another spelling of a balancer's":  {"10.0.0.5", []string{"203.0.113.9, 010.0.0.7"}, "10.0.0.5"},
		"quotes":                            {"10.0.0.5", []string{`"203.0.113.9"`}, "10.0.0.5"},
		"a very long list":                  {"10.0.0.5", []string{"1.1.1.1" + strings.Repeat(", 10.0.0.7", 5000)}, "1.1.1.1"},
		"a connection that has no address":  {"", []string{"203.0.113.9"}, ""},
		"spaces and tabs around an address": {"10.0.0.5", []string{"1.1.1.1,\t 203.0.113.9\t "}, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, balancers.client(c.remote, http.Header{forwardedFor: c.sent}))
			require.Equal(t, c.remote, Trusted(nil).client(c.remote, http.Header{forwardedFor: c.sent}), "nobody is trusted by default")
		})
	}
}

func TestParseTrusted(t *testing.T) {
	require.Equal(t, "[10.0.0.5/32 10.1.0.0/16 2001:db8::1/128]", fmt.Sprint(trusted(t, "10.0.0.5", "10.1.0.0/16", "2001:db8::1")))
	for text, want := range map[string]string{
		"balancer.internal": `"balancer.internal" is neither an address nor a range`, "10.0.0.0/33": "neither", "": "neither", "fe80::1%eth0": "neither", "::ffff:10.0.0.1": "neither",
		"10.0.0.5/24": `"10.0.0.5/24" is an address inside of the range 10.0.0.0/24`,
	} {
		_, err := ParseTrusted([]string{"10.0.0.5", text})
		require.ErrorContains(t, err, want, text)
	}
}

// TestAddressesBehindABalancer counts wrong tokens for each client, and not for
// the balancer that brings them all, and believes nobody else.
func TestAddressesBehindABalancer(t *testing.T) {
	const one, another = "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 203.0.113.2"
	wrong := func(p *port, headers ...string) int {
		r, _ := answer(t, p.send(upgrade("/?token="+tokens.NewSecret(), append(headers, stock...)...)))
		return r.StatusCode
	}
	t.Run("trusted", func(t *testing.T) {
		p, secret, _ := guarded(t, func(o *Options) { o.Failures = 1; o.Trusted = trusted(t, "127.0.0.1") })
		require.Equal(t, http.StatusUnauthorized, wrong(p, one))
		require.Equal(t, http.StatusTooManyRequests, wrong(p, one))
		require.Equal(t, http.StatusTooManyRequests, wrong(p, another, one), "what a client writes itself stands before what its balancer writes")
		require.Equal(t, http.StatusUnauthorized, wrong(p, another))
		require.Contains(t, p.log.String(), `"client":"203.0.113.2"`)
		p.send(upgrade("/?token="+secret, append([]string{another}, stock...)...))
		u := receive(t, p.upgrades)
		require.Equal(t, "203.0.113.2", u.Remote)
		require.NotContains(t, fmt.Sprint(u.Header), "203.0.113.2", "the worker's server does not get it")
	})
	t.Run("a stranger", func(t *testing.T) {
		p, secret, _ := guarded(t, func(o *Options) { o.Failures = 1; o.Trusted = trusted(t, "10.0.0.0/8", "127.0.0.2") })
		require.Equal(t, http.StatusUnauthorized, wrong(p, one))
		require.Equal(t, http.StatusTooManyRequests, wrong(p, another), "another name is no other client")
		p.send(upgrade("/?token="+secret, append([]string{one}, stock...)...))
		require.Equal(t, "127.0.0.1", receive(t, p.upgrades).Remote)
	})
}

// TestPendingOfABalancer leaves a balancer the connections that it holds for
// many clients.
func TestPendingOfABalancer(t *testing.T) {
	here := outside(t)
	p := serve(t, func(o *Options) { o.Listen = here + ":0"; o.Pending = 1; o.Trusted = trusted(t, here) })
	for range 3 * pendingBurst {
		p.send("GET / HT")
	}
	last := p.send("GET / HT")
	require.Zero(t, p.pending.len())
	_, err := last.Write([]byte(strings.TrimPrefix(upgrade("/", stock...), "GET / HT")))
	require.NoError(t, err)
	receive(t, p.upgrades)
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Empty(t, p.refused)
}
