package relay

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
)

type side int

const (
	clientSide side = 0
	workerSide side = 1
)

// leg is one connection. Its descriptor is read and written by the two
// directions of its session only, and closed when both have stopped; before
// that it is its client's.
type leg struct {
	relay  *Relay
	fd     int
	side   side
	client *Client // nil for a worker
	// session is set once the leg belongs to one.
	session atomic.Pointer[Session]
	// link reads from a worker's leg until then; else it is nil.
	link atomic.Pointer[Link]
	// over tells that no event comes any more, because the peer sends nothing
	// new: what is there must be read to its end.
	over atomic.Bool
	// leaving tells that the end of what the peer sends is there to be read, most
	// likely: an event is a hint.
	leaving atomic.Bool
	// ended tells that its end was read, or that the peer has gone.
	ended atomic.Bool
	// unanswered is the number of our pings since the peer was heard last.
	unanswered atomic.Int32

	mu      sync.Mutex
	watched *nbio.Conn
	numbers []int // descriptors that it was registered under, beside fd
	closed  bool
}

// UnderlayerConn is part of nbhttp.ParserCloser; nobody calls it.
func (l *leg) UnderlayerConn() net.Conn { return nil }

// Parse is part of nbhttp.ParserCloser; nobody calls it.
func (l *leg) Parse([]byte) error { return errors.ErrUnsupported }

// Ready runs on the loop.
func (l *leg) Ready() {
	if s := l.session.Load(); s != nil {
		s.dirs[l.side].run()
		return
	}
	// What a waiting client sends stays in the kernel until it has a worker.
	if k := l.link.Load(); k != nil {
		k.wake()
	}
}

// CloseAndClean runs when the loop does not watch the connection any more.
func (l *leg) CloseAndClean(error) {
	l.mu.Lock()
	again := !l.closed && !l.ended.Load() && !peerGone(l.fd)
	if l.closed || again && l.rewatch() == nil {
		l.mu.Unlock()
		if again {
			l.Ready() // for what happened meanwhile
		}
		return
	}
	l.mu.Unlock()
	l.over.Store(true)
	s := l.session.Load()
	if s == nil {
		if l.client != nil {
			l.client.left()
		} else if k := l.link.Load(); k != nil {
			k.wake()
		}
		return
	}
	s.dirs[l.side].run()
	s.dirs[1-l.side].resume()
	if again {
		s.abort(ReasonLost) // it lives, and there is no descriptor to watch it by
	}
}

// rewatch registers the connection once more. The loop has dropped it by
// mistake: for an event that was meant for an earlier connection with the same
// number, or for the deadline of its request.
func (l *leg) rewatch() error {
	c, err := nbio.NBConn(descriptor{fd: l.fd})
	if err != nil {
		return err
	}
	c.SetSession(l)
	// Every number is kept until the end, so that nobody gets its events.
	l.numbers = append(l.numbers, c.Hash())
	return l.register(c)
}

func (l *leg) register(c *nbio.Conn) error {
	l.watched = c
	_, err := l.relay.engine.Engine.AddConn(c)
	return err
}

type outcome int

const (
	some  outcome = iota
	later         // nothing for now
	never         // orderly end, or reset
)

func classify(n int, err error) outcome {
	switch {
	case n > 0:
		return some
	case errors.Is(err, unix.EAGAIN):
		return later
	default:
		return never
	}
}

func (l *leg) read(p []byte) (int, outcome) {
	n, err := nowait.Receive(l.fd, p)
	return n, classify(n, err)
}

// write sends; what more follows may leave together with.
func (l *leg) write(p []byte, more bool) (int, outcome) {
	n, err := nowait.Send(l.fd, p, more)
	return n, classify(n, err)
}

// push sends what the kernel keeps for what more should have followed.
func (l *leg) push() { _ = nowait.Set(l.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// shutdownWrite sends FIN behind everything that was written.
func (l *leg) shutdownWrite() { _ = nowait.Shutdown(l.fd, unix.SHUT_WR) }

func (l *leg) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	_ = l.watched.Close()
	closeFD(l.fd)
	for _, fd := range l.numbers {
		closeFD(fd)
	}
}
