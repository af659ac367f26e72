package gate

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/shared/samehost"
)

// bufferSize is the most that one read takes. With it a megabyte is sixteen
// reads and writes.
const bufferSize = 64 << 10

type buffer [bufferSize]byte

// buffers are in use only while bytes are on their way, so that a session in
// which nothing happens costs two goroutines and no buffer.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// conn is what a TCP and a Unix connection have in common.
type conn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// socket reads and writes one connection without holding memory for what has
// not come yet. One goroutine may read while another writes.
type socket struct {
	conn
	raw syscall.RawConn

	in struct {
		buf *buffer
		n   int
		err error
		try func(fd uintptr) bool
	}
	out struct {
		rest    []byte
		moved   bool // this try wrote something
		wait    bool // this try may wait
		unpaced bool // who gets much was seen to
		err     error
		try     func(fd uintptr) bool
	}
}

func newSocket(c net.Conn) (*socket, error) {
	cc, ok := c.(conn)
	if !ok {
		return nil, errors.New("a connection that cannot be half closed")
	}
	raw, err := cc.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{conn: cc, raw: raw}
	s.in.try, s.out.try = s.tryRead, s.tryWrite
	return s, nil
}

// receive waits for bytes and returns them. They are valid until release.
func (s *socket) receive() ([]byte, error) {
	s.in.n, s.in.err = 0, nil
	if err := s.raw.Read(s.in.try); err != nil {
		return nil, err
	}
	if s.in.err != nil {
		return nil, s.in.err
	}
	if s.in.n == 0 {
		return nil, io.EOF
	}
	return s.in.buf[:s.in.n], nil
}

// release gives the buffer of receive back.
func (s *socket) release() {
	if s.in.buf != nil {
		buffers.Put(s.in.buf)
		s.in.buf = nil
	}
}

// tryRead returns false to wait until the connection is readable.
func (s *socket) tryRead(fd uintptr) bool {
	if s.in.buf == nil {
		s.in.buf, _ = buffers.Get().(*buffer)
	}
	for {
		n, err := receiveNow(fd, s.in.buf[:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			s.release()
			return false
		case err != 0:
			s.release()
			s.in.err = os.NewSyscallError("read", err)
		case n == 0:
			s.release()
		}
		s.in.n = max(n, 0)
		return true
	}
}

// send writes all of p. A peer that takes nothing for the stall limit is an
// error, os.ErrDeadlineExceeded.
func (s *socket) send(p []byte, stall time.Duration) error {
	o := &s.out
	o.rest, o.wait, o.err = p, false, nil
	defer func() { o.rest = nil }()
	for {
		o.moved = false
		if err := s.raw.Write(o.try); err != nil {
			return err
		}
		if o.err != nil {
			return o.err
		}
		if len(o.rest) == 0 {
			break
		}
		// Every step forward begins the time anew.
		o.wait = true
		if err := s.SetWriteDeadline(time.Now().Add(stall)); err != nil {
			return err
		}
	}
	if o.wait {
		return s.SetWriteDeadline(time.Time{})
	}
	return nil
}

// tryWrite returns false to wait until the connection is writable.
func (s *socket) tryWrite(fd uintptr) bool {
	o := &s.out
	if len(o.rest) == bufferSize && !o.unpaced {
		o.unpaced = true
		samehost.Unpace(int(fd))
	}
	for len(o.rest) > 0 {
		n, err := sendNow(fd, o.rest)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return o.moved || !o.wait
		case err != 0:
			o.err = os.NewSyscallError("write", err)
			return true
		default:
			o.rest, o.moved = o.rest[n:], true
		}
	}
	return true
}

// delivering tells whether the peer has not acknowledged all that was sent.
func (s *socket) delivering() bool {
	unacknowledged := 0
	_ = s.raw.Control(func(fd uintptr) {
		unacknowledged, _ = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
	})
	return unacknowledged > 0
}

// limitSilence has the kernel give a peer up that leaves no room for a
// little more than the stall limit, though all that waits for it is in the
// kernel. It counts a peer that acknowledges nothing as silent, too, and instead of the
// number of keep-alive probes; for that it is long (see watchSilence).
func (s *socket) limitSilence(stall time.Duration) {
	margin := stall/20 + 250*time.Millisecond
	if _, ok := s.conn.(*net.TCPConn); !ok {
		return
	}
	_ = s.raw.Control(func(fd uintptr) {
		// A kernel without it has its own limit.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((stall + margin).Milliseconds()))
	})
}
