package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// guarded makes a port that asks for one of two tokens; the second has ended.
func guarded(t *testing.T, change ...func(*Options)) (p *port, secret, expired string) {
	t.Helper()
	secret, expired = tokens.NewSecret(), tokens.NewSecret()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	text := fmt.Sprintf("- name: ci\n  hash: %s\n  max_sessions: 3\n- name: old\n  hash: %s\n  expires: 2020-01-01\n", tokens.Hash(secret), tokens.Hash(expired))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	store, err := tokens.Open(tokens.Config{File: path}, zap.NewNop())
	require.NoError(t, err)
	p = serve(t, append([]func(*Options){func(o *Options) { o.Tokens = store }}, change...)...)
	return p, secret, expired
}

// TestCredentials: I10 at the door.
func TestCredentials(t *testing.T) {
	p, secret, expired := guarded(t)
	with := func(header string) []string { return append([]string{header}, stock...) }
	for name, request := range map[string]string{
		"Bearer":              upgrade("/", with("Authorization: Bearer "+secret)...),
		"bearer":              upgrade("/", with("authorization: bearer  "+secret)...),
		"query":               upgrade("/?token="+secret, stock...),
		"header before query": upgrade("/?token=wrong", with("Authorization: Bearer "+secret)...),
		"other scheme":        upgrade("/?token="+secret, with("Authorization: Basic eDp5")...),
	} {
		t.Run(name, func(t *testing.T) {
			p.send(request)
			u := receive(t, p.upgrades)
			require.Equal(t, "ci", u.Token.Name)
			require.Equal(t, 3, u.Token.MaxSessions)
			require.NotContains(t, fmt.Sprintf("%+v %+v", u.Ask, u.Header), secret, "it goes on to the worker")
		})
	}
	for name, c := range map[string]struct{ request, says string }{
		"none":                       {upgrade("/", stock...), "No token was sent."},
		"empty":                      {upgrade("/?token=", stock...), "No token was sent."},
		"wrong":                      {upgrade("/?token=pwd_wrong", stock...), "The pool has no such token."},
		"the hash":                   {upgrade("/?token="+tokens.Hash(secret), stock...), "The pool has no such token."},
		"part":                       {upgrade("/?token="+secret[:len(secret)-1], stock...), "The pool has no such token."},
		"longer":                     {upgrade("/?token="+secret+"x", stock...), "The pool has no such token."},
		"expired":                    {upgrade("/?token="+expired, stock...), "Token old ended at 2020-01-01 00:00 UTC."},
		"wrong header, right query":  {upgrade("/?token="+secret, with("Authorization: Bearer wrong")...), "The pool has no such token."},
		"as Basic":                   {upgrade("/", with("Authorization: Basic "+secret)...), "No token was sent."},
		"in the name header":         {upgrade("/", with("x-pwdist-token: ci")...), "No token was sent."},
		"unknown path, to strangers": {upgrade("/nowhere", stock...), "No token was sent."},
		"bad query, to strangers":    {upgrade("/?nope=1", stock...), "No token was sent."},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := answer(t, p.send(c.request))
			require.Equal(t, http.StatusUnauthorized, r.StatusCode)
			require.Equal(t, string(refusal.Unauthorized), r.Header.Get(refusal.HeaderCode))
			require.Contains(t, r.Header.Get("WWW-Authenticate"), "Bearer")
			require.Contains(t, body, c.says)
			require.Contains(t, body, "?token=")
		})
	}
	require.Empty(t, p.upgrades)

	// connect('http://…') asks without its credentials.
	r, body := answer(t, p.send("GET /json?token="+secret+" HTTP/1.1\r\nHost: pool\r\n\r\n"))
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.NotContains(t, body+fmt.Sprint(r.Header), secret)
	for _, s := range []string{secret, expired, tokens.Hash(secret)} {
		require.NotContains(t, p.log.String(), s)
	}
}

// TestFailures tells who tries again and again to stop, and does not let him
// fill the log, but never refuses a right token for the wrong ones.
func TestFailures(t *testing.T) {
	p, secret, _ := guarded(t, func(o *Options) { o.Failures = 3 })
	status := map[int]int{}
	for range 10 {
		r, _ := answer(t, p.send(upgrade("/?token="+tokens.NewSecret(), stock...)))
		status[r.StatusCode]++
		if r.StatusCode == http.StatusTooManyRequests {
			require.Equal(t, string(refusal.AuthFailures), r.Header.Get(refusal.HeaderCode))
			require.Regexp(t, `^[1-9][0-9]*$`, r.Header.Get("Retry-After"))
		}
	}
	require.Equal(t, map[int]int{401: 3, 429: 7}, status)
	require.Equal(t, 3, strings.Count(p.log.String(), "without valid credentials"))
	p.send(upgrade("/?token="+secret, stock...))
	receive(t, p.upgrades)
}

func TestFailuresAreBounded(t *testing.T) {
	f := newFailures(2)
	for i := range 3 * maxAddresses {
		f.often(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32))
	}
	require.Len(t, f.of, maxAddresses)
	require.Equal(t, maxAddresses, f.recent.Len())

	a, b := addressOf("192.0.2.1"), addressOf("192.0.2.2")
	for i := range 4 {
		_, often := f.often(a)
		require.Equal(t, i >= 2, often)
	}
	_, often := f.often(b)
	require.False(t, often, "of another address")
	_, often = newFailures(0).often(a)
	require.False(t, often)
}

func TestAddressOf(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::9": "2001:db8:1:2::/64",
		"::1": "::1/128", "fe80::1%eth0": "fe80::/64", "": "invalid Prefix", "pipe": "invalid Prefix",
	} {
		require.Equal(t, want, addressOf(host).String(), host)
	}
}

// TestWebPages: a page that a user visits reaches the port of his machine. It
// gets no session whatever it does, and of a plain request no answer that it may read.
func TestWebPages(t *testing.T) {
	p := serve(t, func(o *Options) { o.AllowedOrigins = []string{"https://ok.example"} })
	for _, origin := range []string{"https://evil.example", "null", "http://pool", "http://localhost:8080", "https://ok.example.evil.example", "file://", ""} {
		r, _ := answer(t, p.send(upgrade("/", append(stock, "Origin: "+origin)...)))
		require.Equal(t, http.StatusForbidden, r.StatusCode, "%q", origin)
	}
	r, _ := answer(t, p.send(upgrade("/", append(stock, "Origin: https://ok.example", "Origin: https://evil.example")...)))
	require.Equal(t, http.StatusForbidden, r.StatusCode, "the second of two")
	require.Empty(t, p.upgrades)
	for _, request := range []string{
		"GET /json HTTP/1.1\r\nHost: pool\r\nOrigin: https://evil.example\r\n\r\n",
		"OPTIONS /json HTTP/1.1\r\nHost: pool\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: evil.example:8080\r\nOrigin: null\r\n\r\n",
	} {
		r, body := answer(t, p.send(request))
		for name := range r.Header {
			require.False(t, strings.HasPrefix(name, "Access-Control-"), name)
		}
		if r.StatusCode == http.StatusOK {
			// By a name that was made to lead here it is the page's own answer: it tells nothing.
			require.JSONEq(t, `{"wsEndpointPath":"/"}`, body)
		}
	}
}

// TestDrip sends its request byte by byte without an end: the deadline is from
// the start, however much comes.
func TestDrip(t *testing.T) {
	p := serve(t, func(o *Options) { o.HeaderTimeout = 300 * time.Millisecond })
	c := p.send("GET / HTTP/1.1\r\nX-Slow: ")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				if _, err := c.Write([]byte("a")); err != nil {
					return
				}
			}
		}
	}()
	_, err := io.Copy(io.Discard, c)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it may go on forever")
	require.Empty(t, p.upgrades)
}

// doorAt is a door that came at a time.
func doorAt(address string, at time.Time) *door { return &door{address: addressOf(address), since: at} }

func TestPending(t *testing.T) {
	p := newPending(2)
	t0 := time.Now()
	a, b := doorAt("192.0.2.1", t0), doorAt("192.0.2.1", t0)
	require.Nil(t, p.enter(a))
	require.Nil(t, p.enter(b))
	require.Nil(t, p.enter(doorAt("192.0.2.2", t0)), "another address")
	require.Same(t, a, p.enter(doorAt("192.0.2.1", t0.Add(p.grace))), "the oldest goes")
	p.leave(b)
	require.Nil(t, p.enter(doorAt("192.0.2.1", t0.Add(2*p.grace))), "who is done makes room")
	p.leave(a) // twice is once
	require.Equal(t, 3, p.len())

	for i := range 1000 {
		require.Nil(t, p.enter(doorAt("127.0.0.1", t0.Add(time.Duration(i)*time.Hour))), "loopback is not counted")
	}
	q := newPending(2)
	for range 2 * pendingBurst {
		require.Nil(t, q.enter(doorAt("192.0.2.1", t0)), "many at once are no attack")
	}
	last := doorAt("192.0.2.1", t0)
	require.Same(t, last, q.enter(last), "without any bound")
	require.Nil(t, newPending(0).enter(a))
}

// TestPendingFromOutside holds connections open that send nothing, from an address of this
// machine that is not loopback, beside a victim that wants in.
func TestPendingFromOutside(t *testing.T) {
	here := outside(t)
	p := serve(t, func(o *Options) { o.Listen = here + ":0"; o.Pending = 3; o.HeaderTimeout = time.Minute })
	p.pending.mu.Lock()
	p.pending.grace = 0
	p.pending.mu.Unlock()
	held := p.dial()
	for range 9 {
		p.dial()
	}
	r, _ := answer(t, held) // closed to make room
	require.Equal(t, http.StatusTooManyRequests, r.StatusCode)
	require.Equal(t, string(refusal.Pending), r.Header.Get(refusal.HeaderCode))
	p.send(upgrade("/", stock...))
	require.Equal(t, here, receive(t, p.upgrades).Remote)
	require.Eventually(t, func() bool { return p.pending.len() <= 3 }, patience, time.Millisecond)
}

// TestPendingAreNoClients counts nobody whose request is complete: they may wait for long.
func TestPendingAreNoClients(t *testing.T) {
	here := outside(t)
	p := serve(t, func(o *Options) { o.Listen = here + ":0"; o.Pending = 3 })
	for range 3 * 3 * pendingBurst { // more than may be unfinished at once
		p.send(upgrade("/", stock...))
		left := leaves(receive(t, p.upgrades))
		require.Zero(t, p.pending.len())
		select {
		case <-left:
			t.Fatal("it was closed")
		default:
		}
	}
	p.dial()
	require.Eventually(t, func() bool { return p.pending.len() == 1 }, patience, time.Millisecond)
}
