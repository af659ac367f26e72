package egress

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newProxy(t testing.TB, o Options) *Proxy {
	t.Helper()
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Registerer = prometheus.NewRegistry()
	p, err := New(o)
	require.NoError(t, err)
	return p
}

// rig is a proxy that runs, with a client behind it and what it logged.
type rig struct {
	*Proxy
	t      testing.TB
	client *http.Client
	logs   *observer.ObservedLogs
}

func newRig(t testing.TB, o Options) *rig {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	o.Log = zap.New(core)
	r := &rig{Proxy: newProxy(t, o), t: t, logs: logs}
	require.NoError(t, r.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, r.Stop(t.Context())) })
	r.client = r.newClient()
	return r
}

func (r *rig) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port())) }

// newClient does as a browser with this proxy does.
func (r *rig) newClient() *http.Client {
	transport := &http.Transport{
		Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: r.address()}),
		DisableCompression: true,
	}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func (r *rig) refusals(c Class) int {
	return int(testutil.ToFloat64(r.refusal.WithLabelValues(string(c))))
}

// server counts who comes.
type server struct {
	*httptest.Server
	hits        atomic.Int64
	connections atomic.Int64
	closed      atomic.Int64
}

// serve listens on an address of loopback, on a free port or on that of another.
func serve(t *testing.T, address string, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		if handler != nil {
			handler(w, r)
		}
	}))
	require.NoError(t, s.Listener.Close())
	s.Listener = l
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.connections.Add(1)
		case http.StateClosed:
			s.closed.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return port
}

// resolverFor asks a DNS server of this test. It is told the name and how often
// its IPv4 address was asked for before, and answers with one address or none.
func resolverFor(t *testing.T, answer func(name string, before int) string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	var done sync.WaitGroup
	done.Go(func() { serveDNS(conn, answer) })
	t.Cleanup(func() {
		_ = conn.Close()
		done.Wait()
	})
	return dnsAt(conn.LocalAddr().String())
}

func serveDNS(conn net.PacketConn, answer func(string, int) string) {
	asked := map[string]int{}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
		if q.Type == dnsmessage.TypeA {
			ip := net.ParseIP(answer(name, asked[name])).To4()
			asked[name]++
			if ip != nil {
				reply.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: [4]byte(ip)},
				}}
			}
		}
		if out, err := reply.Pack(); err == nil {
			_, _ = conn.WriteTo(out, from)
		}
	}
}

func dnsAt(address string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", address)
	}}
}
