package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// patience is what anything may take on a busy machine.
const patience = 20 * time.Second

// rig is a gate between a pool and a server that the test plays.
type rig struct {
	*Gate
	t      testing.TB
	server *net.UnixListener

	mu         sync.Mutex
	down       bool
	generation int
	over       chan struct{}
	hung       atomic.Bool
	assigned   map[string]int // session → attempt
	answer     state.StartAnswer
	err        error
	claimed    []state.Serving
	endings    map[string]func(Ending)
	ended      chan state.End
	taken      int // slots in use when the last end was reported
	checked    int // calls of Check
}

func newRig(t *testing.T, change func(*Options)) *rig {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	return newRigOf(t, change)
}

// newRigOf is for tests that run beside others and their goroutines.
func newRigOf(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "gate") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	require.NoError(t, err)
	r := &rig{
		t: t, server: l, over: make(chan struct{}), assigned: map[string]int{}, answer: state.StartOK,
		endings: map[string]func(Ending){}, ended: make(chan state.End, 100),
	}
	o := Options{Listen: "127.0.0.1:0", Slots: 2, Stall: patience, Log: zaptest.NewLogger(t), Metrics: NewMetrics(prometheus.NewRegistry())}
	change(&o)
	r.Gate = New(o, r, r)
	r.helloTime = patience
	require.NoError(t, r.Listen(context.Background()))
	require.NoError(t, r.Start(context.Background()))
	t.Cleanup(func() {
		require.NoError(t, r.Stop(context.Background()))
		require.Zero(t, r.Taken(), "slots are taken")
		_ = l.Close()
		_ = os.RemoveAll(dir)
	})
	return r
}

// The rig is the browser.

func (r *rig) Current() (browser.Endpoint, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return browser.Endpoint{Generation: 1 + r.generation, Socket: r.server.Addr().String(), Path: "/secret"}, !r.down
}

func (r *rig) Over(int) <-chan struct{} { return r.over }
func (r *rig) Hung(int) bool            { return r.hung.Load() }

// The rig is the pool.

func (r *rig) Check(_ context.Context, session string, attempt int) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked++
	return r.assigned[session] == attempt, r.err
}

func (r *rig) Claim(_ context.Context, s state.Serving, end func(Ending)) (state.StartAnswer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil || r.answer != state.StartOK {
		return r.answer, r.err
	}
	delete(r.assigned, s.Session)
	r.claimed = append(r.claimed, s)
	r.endings[s.Session] = end
	return state.StartOK, nil
}

func (r *rig) Ended(e state.End) {
	r.set(func() { r.taken = r.Taken() })
	r.ended <- e
}

func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// starts are the sessions that were started. The race detector cannot see that
// bytes which the gate has moved come after what it did before.
func (r *rig) starts() (list []state.Serving) {
	r.set(func() { list = slices.Clone(r.claimed) })
	return list
}

// assign gives the worker sessions.
func (r *rig) assign(sessions ...string) {
	r.set(func() {
		for _, s := range sessions {
			r.assigned[s] = 1
		}
	})
}

// waitEnd returns the end that the gate reports next.
func (r *rig) waitEnd() state.End {
	r.t.Helper()
	select {
	case e := <-r.ended:
		return e
	case <-time.After(patience):
		r.t.Fatal("no session ends")
		panic("unreachable")
	}
}

const stockHeaders = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// handshake is what a proxy sends.
func handshake(session string, attempt int) string {
	return fmt.Sprintf("GET /session HTTP/1.1\r\nHost: w:3131\r\n%sUser-Agent: Playwright/1.65.1\r\nx-pwdist-session: %s\r\nx-pwdist-attempt: %d\r\n\r\n", stockHeaders, session, attempt)
}

const yes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzhK+xOo=\r\n\r\n"

// wire is one connection that the test holds.
type wire struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (r *rig) wire(c net.Conn) *wire {
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &wire{Conn: c, t: r.t, in: bufio.NewReader(c)}
}

func (r *rig) dial(text string) *wire {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addr().String())
	require.NoError(r.t, err)
	w := r.wire(c)
	w.send(text)
	return w
}

// accept takes the gate's next connection to the server and its handshake.
func (r *rig) accept() (*wire, string) {
	r.t.Helper()
	require.NoError(r.t, r.server.SetDeadline(time.Now().Add(patience)))
	c, err := r.server.AcceptUnix()
	require.NoError(r.t, err)
	w := r.wire(c)
	head, err := readHead(w.in)
	require.NoError(r.t, err)
	return w, string(head)
}

// open starts a session and returns both of its ends.
func (r *rig) open(session string) (client, server *wire) {
	r.t.Helper()
	r.assign(session)
	client = r.dial(handshake(session, 1))
	server, _ = r.accept()
	server.send(yes)
	head, err := readHead(client.in)
	require.NoError(r.t, err)
	require.Equal(r.t, yes, string(head))
	return client, server
}

func (w *wire) send(text string) {
	w.t.Helper()
	_, err := io.WriteString(w.Conn, text)
	require.NoError(w.t, err)
}

// take reads as many bytes as text has and compares.
func (w *wire) take(text string) {
	w.t.Helper()
	b := make([]byte, len(text))
	_, err := io.ReadFull(w.in, b)
	require.NoError(w.t, err)
	require.Equal(w.t, text, string(b))
}

// takeEnd reads to the end of the stream and returns what came before it.
func (w *wire) takeEnd() string {
	w.t.Helper()
	b, err := io.ReadAll(w.in)
	require.NoError(w.t, err)
	return string(b)
}

func (w *wire) closeWrite() {
	w.t.Helper()
	require.NoError(w.t, w.Conn.(interface{ CloseWrite() error }).CloseWrite())
}

// answer reads a refusal.
func (w *wire) answer() (status int, code, body string) {
	w.t.Helper()
	resp, err := http.ReadResponse(w.in, nil)
	require.NoError(w.t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	return resp.StatusCode, resp.Header.Get("x-pwdist-refusal"), string(b)
}

func TestNobodyPassesWithoutAnAssignment(t *testing.T) { // I10
	for name, c := range map[string]struct {
		set     func(*rig)
		request string
		status  int
		code    string
		text    string
		reaches bool // the server, before it is refused
	}{
		"assigned to nobody": {request: handshake("s", 1), status: 403, code: "no_assignment"},
		"another attempt":    {set: func(r *rig) { r.assigned["s"] = 2 }, request: handshake("s", 1), status: 403, code: "no_assignment"},
		"no session":         {request: "GET / HTTP/1.1\r\nHost: w\r\n" + stockHeaders + "\r\n", status: 403, code: "no_assignment", text: "Connect to the pool's proxy instead"},
		"no attempt":         {request: "GET /session HTTP/1.1\r\nHost: w\r\n" + stockHeaders + "x-pwdist-session: s\r\n\r\n", status: 403, code: "no_assignment"},
		"used":               {set: func(r *rig) { r.assigned["s"] = 1; r.answer = state.StartUsed }, request: handshake("s", 1), status: 403, code: "no_assignment", text: "It has started already.", reaches: true},
		"over":               {set: func(r *rig) { r.assigned["s"] = 1; r.answer = state.StartOver }, request: handshake("s", 1), status: 403, code: "no_assignment", reaches: true},
		"elsewhere":          {set: func(r *rig) { r.assigned["s"] = 1; r.answer = state.StartElsewhere }, request: handshake("s", 1), status: 403, code: "no_assignment", reaches: true},
		"Redis gone":         {set: func(r *rig) { r.err = errors.New("gone") }, request: handshake("s", 1), status: 503, code: "redis_unavailable"},
		"browser down":       {set: func(r *rig) { r.down = true; r.assigned["s"] = 1 }, request: handshake("s", 1), status: 503, code: "browser_down"},
		"plain HTTP":         {request: "GET /json HTTP/1.1\r\nHost: w\r\n\r\n", status: 426, code: "upgrade_required"},
		"not GET":            {request: "POST /session HTTP/1.1\r\nHost: w\r\n" + stockHeaders + "x-pwdist-session: s\r\nx-pwdist-attempt: 1\r\n\r\n", status: 426, code: "upgrade_required"},
		"not HTTP":           {request: "nonsense\r\n\r\n", status: 400},
		"a long head":        {request: "GET /session HTTP/1.1\r\n" + strings.Repeat("x-a: "+strings.Repeat("b", 1000)+"\r\n", 70) + stockHeaders + "\r\n", status: 431},
		"a folded header":    {request: "GET /session HTTP/1.1\r\nx-a: b\r\n x-pwdist-session: s\r\n" + stockHeaders + "\r\n", status: 400},
		"a bare newline":     {request: "GET /session HTTP/1.1\r\nx-a: b\nx-pwdist-session: s\r\n" + stockHeaders + "\r\n", status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			if c.set != nil {
				r.set(func() { c.set(r) })
			}
			client := r.dial(c.request)
			var server *wire
			if c.reaches {
				server, _ = r.accept()
				server.send(yes)
			}
			status, code, body := client.answer()
			require.Equal(t, c.status, status)
			require.Equal(t, c.code, code)
			require.Contains(t, body, c.text)
			if server != nil {
				require.Empty(t, server.takeEnd(), "nothing of the client reached the server")
			}
			require.Empty(t, r.starts())
			_ = client.Close()
		})
	}
}

func TestAnUnreachableServerStartsNothing(t *testing.T) {
	r := newRig(t, func(*Options) {})
	require.NoError(t, r.server.Close())
	r.assign("s")
	status, code, _ := r.dial(handshake("s", 1)).answer()
	require.Equal(t, 503, status)
	require.Equal(t, "browser_down", code)
	require.Empty(t, r.starts())
}

func TestAServerThatSaysNonsenseStartsNothing(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.assign("s")
	client := r.dial(handshake("s", 1))
	server, _ := r.accept()
	server.send("hello\r\n\r\n")
	_ = server.Close()
	status, code, _ := client.answer()
	require.Equal(t, 503, status)
	require.Equal(t, "browser_down", code)
	require.Empty(t, r.starts())
}

func TestTheServersOwnRefusalIsPassedOn(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.assign("s")
	client := r.dial(handshake("s", 1))
	server, _ := r.accept()
	const no = "HTTP/1.1 428 Precondition Required\r\n\r\nversion mismatch\nupdate your client"
	server.send(no)
	_ = server.Close()
	require.Equal(t, no, client.takeEnd())
	require.Empty(t, r.starts(), "nothing was started")
}

func TestTheHandshakeGoesOnAsItCame(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.assign("s")
	client := r.dial("GET /session?x=1 HTTP/1.1\r\nHost: worker:3131\r\nOrigin: http://evil\r\n" + stockHeaders +
		"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\nX-Custom:  two  words\r\n" +
		"X-Pwdist-Session: s\r\nx-pwdist-attempt: 1\r\nx-pwdist-proxy: p\r\nX-Pwdist-Voucher: v\r\nX-Playwright-Launch-Options: null\r\nx-pwdist-name: n\r\nx-pwdist-labels: {\"a\":\"b\"}\r\nx-pwdist-token: t\r\nx-pwdist-client: 10.0.0.1\r\n\r\n" +
		"early")
	server, head := r.accept()
	require.Equal(t, "GET /secret HTTP/1.1\r\nHost: playwright\r\n"+stockHeaders+
		"sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\nX-Custom:  two  words\r\n\r\n", head)
	answer := strings.TrimSuffix(yes, "\r\n") + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
	server.send(answer + "eager")
	client.take(answer + "eager")
	server.take("early")
	require.Len(t, r.starts(), 1)
	s := r.starts()[0]
	require.NotEmpty(t, s.Nonce)
	s.Nonce = ""
	require.Equal(t, state.Serving{Session: "s", Attempt: 1, Proxy: "p", Name: "n", Labels: map[string]string{"a": "b"}, Token: "t", Client: "10.0.0.1"}, s)
	_, _ = client.Close(), server.Close()
	require.Equal(t, state.Counts{BytesUp: 5, BytesDown: 5}, r.waitEnd().Counts)
}

func TestNeverMoreSessionsThanSlots(t *testing.T) { // I1
	r := newRig(t, func(o *Options) { o.Slots = 2 })
	one, served := r.open("one")
	r.open("two")
	r.assign("three")
	require.Equal(t, 2, r.Taken())
	status, code, _ := r.dial(handshake("three", 1)).answer()
	require.Equal(t, 503, status)
	require.Equal(t, "worker_full", code)

	// A slot that comes free within a moment is waited for: the pool may have
	// heard of an end before the gate.
	waiting := r.dial(handshake("three", 1))
	require.NoError(t, one.Close())
	require.NoError(t, served.Close())
	server, _ := r.accept()
	server.send(yes)
	waiting.take(yes)
	require.Equal(t, 2, r.Taken())
}

// The pool has ended a session and given its slot away. Whoever gets it waits until
// it is free, as long as an end may take whose client hears nothing.
func TestASlotIsGivenOnlyWhenItIsFree(t *testing.T) { // I1
	r := newRig(t, func(o *Options) { o.Slots = 1 })
	r.full = patience
	_, server := r.open("one")
	server.send("\x82\x05half") // no close frame may stand here
	r.end("one", Ending{Reason: "proxy_lost", Text: "over"})
	r.assign("two")
	next := r.dial(handshake("two", 1))
	require.Equal(t, "proxy_lost", r.waitEnd().Reason)
	server, _ = r.accept()
	server.send(yes)
	next.take(yes)
}

func TestASlotIsFreeBeforeItsEndIsReported(t *testing.T) { // I1
	r := newRig(t, func(o *Options) { o.Slots = 1 })
	for i := range 20 {
		session := fmt.Sprint("s", i)
		client, server := r.open(session)
		_ = client.Close()
		require.Empty(t, server.takeEnd())
		require.Equal(t, 1, r.Taken(), "the server's side is open still")
		_ = server.Close()
		require.Equal(t, session, r.waitEnd().Session)
		r.set(func() { require.Zero(t, r.taken) })
	}
}
