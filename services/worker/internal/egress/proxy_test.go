package egress

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func get(t *testing.T, c *http.Client, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := c.Get(url)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b), resp.Header
}

func TestARefusalIsExplained(t *testing.T) {
	victim := serve(t, "127.0.0.1:0", nil)
	r := newRig(t, Options{Resolver: resolverFor(t, func(string, int) string { return "127.0.0.1" })})
	for n, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "victim.test", "VICTIM.test."} {
		status, text, header := get(t, r.client, "http://"+host+":"+victim.port()+"/secret?token=abc")
		require.Equal(t, http.StatusForbidden, status)
		require.Contains(t, text, "The pool's egress guard refuses "+net.JoinHostPort(normal(trimBrackets(host)), victim.port())+": that is a loopback address.")
		require.Contains(t, text, "egress.allow")
		require.NotContains(t, text, "secret")
		require.Equal(t, "refused; reason=loopback", header.Get("X-Pwdist-Egress"))
		require.Equal(t, n+1, r.refusals(Loopback))
	}
	_, err := r.client.Get("https://127.0.0.1:" + victim.port() + "/secret?token=abc")
	require.ErrorContains(t, err, "Forbidden")
	require.Equal(t, 5, r.refusals(Loopback))
	require.Zero(t, victim.connections.Load())
	for _, line := range r.logs.All() {
		require.NotContains(t, fmt.Sprint(line.Message, line.ContextMap()), "secret")
		require.NotContains(t, fmt.Sprint(line.Message, line.ContextMap()), "abc")
	}
	require.Equal(t, 5, r.logs.FilterMessage("refused a connection of a page").Len())
}

func TestPagesDoNotFillTheLog(t *testing.T) {
	r := newRig(t, Options{})
	for range 3 * logged {
		get(t, r.client, "http://127.0.0.1:1/")
	}
	require.Equal(t, 3*logged, r.refusals(Loopback))
	all := r.logs.FilterMessage("refused a connection of a page")
	require.Equal(t, 3*logged, all.Len())
	loud := all.FilterLevelExact(zap.InfoLevel).Len()
	require.GreaterOrEqual(t, loud, logged)
	require.Less(t, loud, 2*logged)
}

func TestARedirectIsCheckedAsWell(t *testing.T) {
	victim := serve(t, "127.0.0.1:0", nil)
	app := serve(t, "127.0.0.2:0", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, victim.URL, http.StatusFound)
	})
	r := newRig(t, Options{Allow: []string{"127.0.0.2"}})
	status, text, _ := get(t, r.client, app.URL)
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, text, "loopback")
	require.EqualValues(t, 1, app.hits.Load())
	require.Zero(t, victim.connections.Load())
}

// A name that resolves to an open address when it is asked for first, and to
// another one right after that.
func TestRebinding(t *testing.T) {
	victim := serve(t, "127.0.0.1:0", nil)
	app := serve(t, "127.0.0.2:"+victim.port(), nil)
	r := newRig(t, Options{Allow: []string{"127.0.0.2"}, Resolver: resolverFor(t, func(_ string, before int) string {
		return []string{"127.0.0.2", "127.0.0.1"}[before%2]
	})})
	for n := range 6 {
		status, _, _ := get(t, r.newClient(), "http://rebinding.test:"+victim.port())
		require.Equal(t, []int{http.StatusOK, http.StatusForbidden}[n%2], status)
	}
	require.EqualValues(t, 3, app.hits.Load())
	require.Zero(t, victim.connections.Load())
	require.Equal(t, 3, r.refusals(Loopback))
}

// The proxy's own port is the one that every page can guess.
func TestTheProxyIsNoWayToItself(t *testing.T) {
	r := newRig(t, Options{Allow: []string{"127.0.0.0/8"}})
	status, text, _ := get(t, r.client, "http://"+r.address()+"/")
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, text, "a service of the pool itself")

	direct, err := http.Get("http://" + r.address() + "/")
	require.NoError(t, err)
	_ = direct.Body.Close()
	require.Equal(t, http.StatusBadRequest, direct.StatusCode)
}

// A server that is down looks like one, and not like a refusal.
func TestAServerThatIsDown(t *testing.T) {
	gone := serve(t, "127.0.0.1:0", nil)
	gone.Close()
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}, Resolver: resolverFor(t, func(string, int) string { return "" })})
	for _, host := range []string{"127.0.0.1", "nowhere.test"} {
		_, err := r.client.Get("http://" + host + ":" + gone.port())
		require.ErrorIs(t, err, io.EOF)
		_, err = r.client.Get("https://" + host + ":" + gone.port())
		require.ErrorContains(t, err, "Bad Gateway")
	}
	for c := range text {
		require.Zero(t, r.refusals(c), c)
	}
}

func TestRequestsAndAnswersPassUnchanged(t *testing.T) {
	var seen *http.Request
	app := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header()["Content-Type"], w.Header()["Date"] = nil, nil
		w.Header()["Set-Cookie"] = []string{"a=b", "c=d"}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "<html>")
	})
	r := newRig(t, Options{Allow: []string{"app.test:" + app.port()}, Resolver: resolverFor(t, func(string, int) string { return "127.0.0.1" })})
	c, err := net.Dial("tcp", r.address())
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	const path = "/a%2Fb|c/../%zz^d?q=%zz;x&y=1|2#"
	for _, exact := range []string{strings.TrimSuffix(strings.ReplaceAll(path, "%zz", "%7A"), "#"), "/", "/?", "/x?http://other/"} {
		_, err = fmt.Fprintf(c, "GET http://app.test:%s%s HTTP/1.1\r\nHost: app.test:%[1]s\r\nX-Forwarded-For: 1.2.3.4\r\nProxy-Connection: keep-alive\r\n\r\n", app.port(), exact)
		require.NoError(t, err)
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "<html>", string(body))
		require.Equal(t, http.StatusTeapot, resp.StatusCode)
		require.Equal(t, http.Header{"Set-Cookie": {"a=b", "c=d"}, "Content-Length": {"6"}}, resp.Header)
		require.Equal(t, exact, seen.RequestURI)
		require.Equal(t, "app.test:"+app.port(), seen.Host)
		require.Equal(t, http.Header{"X-Forwarded-For": {"1.2.3.4"}}, seen.Header)
	}
}

func TestAStreamIsNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	app := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "24") // known, and still not there at once
		for n := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n", n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	resp, err := r.client.Get(app.URL)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for n := range 3 {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("data: %d\n", n), line)
		next <- struct{}{}
	}
}

func TestBigBodies(t *testing.T) {
	const size = 16 << 20
	app := serve(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	resp, err := r.client.Post(app.URL, "application/octet-stream", bytes.NewReader(body))
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, bytes.Equal(body, got))
}

// A server may know a user by the connection (NTLM does), so what two
// connections of the browser ask for never shares one.
func TestConnectionsAreKeptApart(t *testing.T) {
	app := serve(t, "127.0.0.1:0", nil)
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	one, two := r.newClient(), r.newClient()
	for range 5 {
		get(t, one, app.URL)
	}
	require.EqualValues(t, 1, app.connections.Load(), "kept alive")
	for range 5 {
		get(t, two, app.URL)
		get(t, one, app.URL)
	}
	require.EqualValues(t, 2, app.connections.Load())
	require.Zero(t, app.closed.Load())
	one.CloseIdleConnections()
	require.Eventually(t, func() bool { return app.closed.Load() == 1 }, 20*time.Second, time.Millisecond, "the server's end of it as well")
}

// tunnel opens one to a server that does with the connection what it is told.
func tunnel(t *testing.T, r *rig, do func(net.Conn)) *net.TCPConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	over := make(chan struct{})
	go func() {
		defer close(over)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		do(c)
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-over
	})
	c, err := net.Dial("tcp", r.address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	// The first bytes come with the head.
	_, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\nearly", l.Addr())
	require.NoError(t, err)
	head := make([]byte, len("HTTP/1.1 200 OK\r\n\r\n"))
	_, err = io.ReadFull(c, head)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK\r\n\r\n", string(head))
	return c.(*net.TCPConn)
}

func TestATunnelPassesEverythingUntilBothSidesEnd(t *testing.T) {
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	c := tunnel(t, r, func(up net.Conn) {
		got, _ := io.ReadAll(up) // until the client's end
		_, _ = up.Write(append([]byte("echo "), got...))
	})
	require.EqualValues(t, 1, testutil.ToFloat64(r.tunnels))
	_, err := io.WriteString(c, " late")
	require.NoError(t, err)
	require.NoError(t, c.CloseWrite())
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "echo early late", string(got))
	require.Eventually(t, func() bool { return testutil.ToFloat64(r.tunnels) == 0 }, 20*time.Second, time.Millisecond)
}

func TestABrokenTunnelEndsOnBothSides(t *testing.T) {
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	ended := make(chan error, 1)
	c := tunnel(t, r, func(up net.Conn) {
		_, err := io.Copy(io.Discard, up)
		ended <- err
	})
	require.NoError(t, c.SetLinger(0)) // a reset
	require.NoError(t, c.Close())
	<-ended
}

func TestStopEndsTunnels(t *testing.T) {
	r := newRig(t, Options{Allow: []string{"127.0.0.1"}})
	c := tunnel(t, r, func(up net.Conn) { _, _ = io.Copy(io.Discard, up) })
	require.NoError(t, r.Stop(t.Context()))
	_, err := c.Read(make([]byte, 1))
	require.Error(t, err)
}

func TestWrongTargets(t *testing.T) {
	r := newRig(t, Options{})
	for _, line := range []string{"CONNECT a.test", "CONNECT a.test:http", "CONNECT :80", "CONNECT a.test:0", "CONNECT a.test:99999", "GET http://a.test:99999/", "GET ftp://a.test/", "GET https://a.test/"} {
		c, err := net.Dial("tcp", r.address())
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\n\r\n", line)
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err, line)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, line)
		require.NoError(t, c.Close())
	}
}

func TestThisMachinesAddresses(t *testing.T) {
	require.Contains(t, localAddrs(), netip.MustParseAddr("127.0.0.1"))
}
