package relay_test

import (
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

func TestMain(m *testing.M) {
	logging.Output = io.Discard // the library's greeting
	os.Exit(m.Run())
}

// head stands for a worker's answer to the upgrade.
const head = "HTTP/1.1 101 Switching Protocols\r\n\r\n"

// patience bounds every wait that should be short.
const patience = 20 * time.Second

// rig is a relay on a real engine. Its clients say hello with one byte, which
// stands for the request.
type rig struct {
	t       testing.TB
	relay   *relay.Relay
	engine  *nbhttp.Engine
	address string
	doors   chan *door
	stop    func()
	started int // sessions
}

// pollers is how many event loops a rig has.
const pollers = 2

func newRig(t testing.TB, change ...func(*relay.Options)) *rig {
	t.Helper()
	return newRigThat(t, func(r *relay.Relay) { require.NoError(t, r.Park()) }, change...)
}

// newRigThat is a rig that has its loops park in a way of its own.
func newRigThat(t testing.TB, park func(*relay.Relay), change ...func(*relay.Options)) *rig {
	t.Helper()
	o := relay.DefaultOptions()
	for _, f := range change {
		f(&o)
	}
	g := &rig{t: t, doors: make(chan *door, 64)}
	g.engine = nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{"127.0.0.1:0"}, NPoller: pollers, EpollMod: nbio.EPOLLET, SupportServerOnly: true,
		Handler:        http.NotFoundHandler(),
		ServerExecutor: func(f func()) { f() },
		Listen: func(network, addr string) (net.Listener, error) {
			ln, err := net.Listen(network, addr)
			return hiding{ln}, err
		},
	})
	g.relay = relay.New(g.engine, func(c *nbio.Conn) {
		if _, ok := c.Session().(*nbhttp.Parser); ok {
			c.SetSession(&door{rig: g, conn: c})
		}
	}, o)
	require.NoError(t, g.engine.Start())
	park(g.relay)
	g.address = g.engine.Addrs[0]
	g.stop = sync.OnceFunc(func() {
		g.relay.Close()
		g.engine.Stop()
	})
	t.Cleanup(g.stop)
	return g
}

type hiding struct{ net.Listener }

func (h hiding) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return relay.Hide(c), nil
}

// door adopts a connection when its hello is there.
type door struct {
	rig    *rig
	conn   *nbio.Conn
	client atomic.Pointer[relay.Client]
}

func (d *door) UnderlayerConn() net.Conn { return nil }
func (d *door) Parse([]byte) error       { return nil }

func (d *door) CloseAndClean(err error) {
	if c := d.client.Load(); c != nil {
		c.CloseAndClean(err)
	}
}

func (d *door) Ready() {
	if c := d.client.Load(); c != nil {
		c.Ready()
		return
	}
	var hello [1]byte
	if n, _ := unix.Read(d.conn.Hash(), hello[:]); n != 1 {
		return
	}
	c, err := d.rig.relay.Adopt(d.conn, nil, nil)
	if err == nil {
		d.client.Store(c)
		d.rig.doors <- d
	}
}

// client connects one and returns both of its ends.
func (g *rig) client() (*net.TCPConn, *door) {
	g.t.Helper()
	c, err := net.Dial("tcp", g.address)
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = c.Close() })
	_, err = c.Write([]byte("h"))
	require.NoError(g.t, err)
	return c.(*net.TCPConn), receive(g.t, g.doors)
}

// worker returns both ends of a worker's connection; the first is the relay's.
func worker(t testing.TB) (here, there *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			accepted <- c
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	there = receive(t, accepted).(*net.TCPConn)
	t.Cleanup(func() { _, _ = c.Close(), there.Close() })
	return c.(*net.TCPConn), there
}

// link returns both ends of a worker's connection that the relay made itself,
// after a word each way.
func (g *rig) link() (here net.Conn, there *net.TCPConn) {
	g.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(g.t, err)
	defer func() { _ = ln.Close() }()
	here, err = g.relay.DialContext(g.t.Context(), "tcp", ln.Addr().String())
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = here.Close() })
	c, err := ln.Accept()
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = c.Close() })
	write(g.t, here, []byte("request"))
	require.Equal(g.t, "request", string(read(g.t, c, len("request"))))
	write(g.t, c, []byte("answer"))
	require.Equal(g.t, "answer", string(read(g.t, here, len("answer"))))
	return here, c.(*net.TCPConn)
}

// session is one that runs; client and worker are the far ends.
type session struct {
	t              testing.TB
	client, worker *net.TCPConn
	door           *door
	*relay.Session
	result chan relay.Result
	ends   atomic.Int32
}

func (g *rig) session(early ...byte) *session {
	g.t.Helper()
	s := &session{t: g.t, result: make(chan relay.Result, 2)}
	s.client, s.door = g.client()
	// In turn, those of package net and the relay's own.
	var here net.Conn
	if g.started++; g.started%2 == 0 {
		here, s.worker = worker(g.t)
	} else {
		here, s.worker = g.link()
	}
	var err error
	s.Session, err = g.relay.Start(s.door.client.Load(), here, []byte(head), early, func(r relay.Result) {
		s.ends.Add(1)
		s.result <- r
	})
	require.NoError(g.t, err)
	got := make([]byte, len(head))
	_ = s.client.SetReadDeadline(time.Now().Add(patience))
	_, err = io.ReadFull(s.client, got)
	require.NoError(g.t, err)
	_ = s.client.SetReadDeadline(time.Time{})
	require.Equal(g.t, head, string(got))
	return s
}

// ended waits for the session's report.
func (s *session) ended() relay.Result {
	s.t.Helper()
	return receive(s.t, s.result)
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("nothing came in %s\n%s", patience, buf[:runtime.Stack(buf, true)])
		panic("unreachable")
	}
}

func write(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.Write(b)
	require.NoError(t, err)
}

func read(t testing.TB, c net.Conn, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	return b
}

// rest reads to the end of the stream.
func rest(t testing.TB, c net.Conn) []byte {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	return b
}

// settled waits until the kernel of the other side has acknowledged all that
// was written to c.
func settled(t testing.TB, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		left := -1
		_ = raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) })
		return left == 0
	}, patience, time.Millisecond)
}

// reset closes a connection with RST at once.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
