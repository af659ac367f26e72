package edge

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

const patience = 20 * time.Second

// port is an edge that serves.
type port struct {
	*Edge
	t        testing.TB
	upgrades chan Upgrade
	log      *record
	mu       sync.Mutex
	refused  []refusal.Code
}

func serve(t testing.TB, change ...func(*Options)) *port {
	t.Helper()
	p := &port{t: t, upgrades: make(chan Upgrade, 64), log: &record{}}
	o := Options{
		Listen: "127.0.0.1:0", DefaultBrowser: "chromium", Pollers: 2, Relay: relay.DefaultOptions(), Log: p.log.logger(),
		Refused: func(c refusal.Code) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.refused = append(p.refused, c)
		},
	}
	for _, f := range change {
		f(&o)
	}
	p.Edge = New(o, func(u Upgrade) { p.upgrades <- u })
	require.NoError(t, p.Start())
	t.Cleanup(p.stop)
	return p
}

// lastRefused is what was counted last.
func (p *port) lastRefused() refusal.Code {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused[len(p.refused)-1]
}

func (p *port) stop() {
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	require.NoError(p.t, p.Stop(ctx))
}

// dial connects.
func (p *port) dial() *net.TCPConn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.Addr().String())
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// send connects and sends a request.
func (p *port) send(request string) *net.TCPConn {
	p.t.Helper()
	c := p.dial()
	_, err := io.WriteString(c, request)
	require.NoError(p.t, err)
	return c
}

// upgrade is a request for a browser.
func upgrade(target string, headers ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: pool\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n" + lines(headers) + "\r\n"
}

func lines(headers []string) string {
	var b strings.Builder
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	return b.String()
}

// stock are headers that every Playwright client sends.
var stock = []string{"User-Agent: Playwright/1.65.1 (x64; debian 12) node/20", "x-playwright-browser: chromium"}

// answer reads a response and sees the connection close behind it.
func answer(t testing.TB, c *net.TCPConn, method ...string) (*http.Response, string) {
	t.Helper()
	all, err := io.ReadAll(c)
	require.NoError(t, err)
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), &http.Request{Method: strings.Join(method, "")})
	require.NoError(t, err, "%q", all)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	_ = r.Body.Close()
	if r.Request.Method == http.MethodHead {
		_, body, _ = bytes.Cut(all, []byte("\r\n\r\n"))
	}
	return r, string(body)
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came in %s", patience)
		panic("unreachable")
	}
}

// leaves returns a channel that is closed when the client leaves.
func leaves(u Upgrade) <-chan struct{} {
	left := make(chan struct{})
	u.Client.OnLeave(func() { close(left) })
	return left
}

// record keeps everything that is logged.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) logger() *zap.Logger {
	c := zap.NewProductionEncoderConfig()
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(c), zapcore.AddSync(r), zapcore.DebugLevel))
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// outside is an address of this machine that is not loopback.
func outside(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}
