package relay

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/lesismal/nbio"
)

type side int

const (
	clientSide side = 0
	workerSide side = 1
)

// leg is one connection of a session. It is what nbio keeps as the
// connection's session, so it implements nbhttp.ParserCloser.
type leg struct {
	conn  *nbio.Conn
	inode uint64
	side  side

	// unsent counts the bytes given to conn.Write that the kernel has not
	// taken yet; nbio keeps them.
	unsent atomic.Int64
	// closed tells that nbio has closed the connection.
	closed atomic.Bool
	// session is set once the leg belongs to one; waiting until then.
	session atomic.Pointer[Session]
	waiting atomic.Pointer[Client]

	// tail is a second descriptor of the socket plus one, 0 when there is none:
	// it keeps what the peer sent before it closed readable after nbio has
	// closed its own.
	tail     atomic.Int64
	tailMu   sync.Mutex
	finished bool // no further tail is made
}

func newLeg(c *nbio.Conn, s side) *leg {
	return &leg{conn: c, side: s, inode: socketInode(c.Hash())}
}

// UnderlayerConn is part of nbhttp.ParserCloser.
func (l *leg) UnderlayerConn() net.Conn { return l.conn }

// Parse is part of nbhttp.ParserCloser. The relay reads by itself.
func (l *leg) Parse([]byte) error { return nil }

// CloseAndClean is called by nbio after it has closed the connection.
func (l *leg) CloseAndClean(error) {
	l.closed.Store(true)
	if s := l.session.Load(); s != nil {
		s.legClosed(l)
		return
	}
	if w := l.waiting.Load(); w != nil {
		w.leave()
	}
}

type readResult int

const (
	readData readResult = iota
	readAgain
	readDrained
	readEOF
)

func classify(n int, err error) readResult {
	switch {
	case n > 0:
		return readData
	case errors.Is(err, syscall.EINTR):
		return readAgain
	case errors.Is(err, syscall.EAGAIN):
		return readDrained
	default: // orderly end, reset, or closed by nbio
		return readEOF
	}
}

// read reads what is there, from the tail once nbio has closed its descriptor.
func (l *leg) read(p []byte) (int, readResult) {
	for {
		n, err := l.conn.Read(p)
		if errors.Is(err, net.ErrClosed) {
			return l.readTail(p)
		}
		if res := classify(n, err); res != readAgain {
			return n, res
		}
	}
}

func (l *leg) readTail(p []byte) (int, readResult) {
	l.tailMu.Lock()
	defer l.tailMu.Unlock()
	fd := int(l.tail.Load()) - 1
	if fd < 0 {
		return 0, readEOF
	}
	for {
		n, err := syscall.Read(fd, p)
		switch classify(n, err) {
		case readData:
			return n, readData
		case readAgain:
		default:
			// The peer has closed: there is nothing that could still come.
			return 0, readEOF
		}
	}
}

// write hands p to the kernel, or to nbio's queue for what the kernel does not
// take. The error means that the connection is gone.
func (l *leg) write(p []byte) error {
	l.unsent.Add(int64(len(p)))
	if _, err := l.conn.Write(p); err != nil {
		return err
	}
	return nil
}

// written runs with nbio's lock of the connection held: count and wake only.
func (l *leg) written(n int) {
	left := l.unsent.Add(-int64(n))
	s := l.session.Load()
	if s == nil {
		return
	}
	d := &s.dirs[1-l.side]
	if d.blocked.Load() {
		d.moved.Store(true)
		if left <= d.resumeAt.Load() && d.blocked.CompareAndSwap(true, false) {
			go d.run()
		}
	}
}

// guard keeps the unread bytes of a connection whose peer has closed.
func (l *leg) guard() {
	if l.tail.Load() != 0 || !peerClosed(l.conn.Hash()) {
		return
	}
	l.tailMu.Lock()
	defer l.tailMu.Unlock()
	if l.tail.Load() != 0 || l.finished {
		return
	}
	if fd, ok := pin(l.conn.Hash(), l.inode); ok {
		l.tail.Store(int64(fd) + 1)
	}
}

// guardWaiting is guard for a client that has no worker yet: its leaving is
// noticed by nbio alone, so nothing is kept.
func (l *leg) guardWaiting() {
	// The session may have been set between the event and this call.
	if s := l.session.Load(); s != nil && !s.dirs[l.side].run() {
		l.guard()
	}
}

// shutdownWrite sends FIN behind everything that was written.
func (l *leg) shutdownWrite() {
	l.tailMu.Lock()
	defer l.tailMu.Unlock()
	if t := int(l.tail.Load()) - 1; t >= 0 {
		_ = syscall.Shutdown(t, syscall.SHUT_WR)
		return
	}
	if fd, ok := pin(l.conn.Hash(), l.inode); ok {
		_ = syscall.Shutdown(fd, syscall.SHUT_WR)
		_ = syscall.Close(fd)
	}
}

func (l *leg) close() {
	_ = l.conn.CloseWithError(io.EOF)
	l.dropTail()
}

func (l *leg) dropTail() {
	l.tailMu.Lock()
	defer l.tailMu.Unlock()
	l.finished = true
	if t := int(l.tail.Load()) - 1; t >= 0 {
		_ = syscall.Close(t)
		l.tail.Store(0)
	}
}
