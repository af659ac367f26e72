package edge

import (
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// listener is a TCP listener that can stop accepting while its engine runs,
// and that sends clients away where nbio would spin: after an error that will
// not go away at once, such as being out of descriptors.
type listener struct {
	net.Listener
	tcp     *net.TCPListener
	file    *os.File // the same socket, as package net lets nobody else accept
	sockets acceptor
	log     *zap.Logger

	// limit is the number above which descriptors are the last ones.
	limit int
	// highest is the highest one seen lately, unasked how many connections were
	// taken since.
	highest, unasked int
	// spare is a descriptor to fall back on when there is no other: with it a
	// client can be told why it is not served.
	spare *os.File

	// ready is closed when connections may come.
	ready    chan struct{}
	ending   chan struct{} // closed when only those who wait already are taken
	ended    time.Time     // when that began, set before
	until    time.Time     // the longest that it may take, likewise
	end      func()
	stopped  chan struct{}
	stop     func() // closes the socket
	quiet    chan struct{}
	released chan struct{}
	release  func()
	warned   time.Time     // Accept's
	sweep    time.Duration // sweepTime but in tests
}

const (
	// errorPause is how long accepting rests after an error.
	errorPause = 50 * time.Millisecond
	// warnPause is how often such errors are logged.
	warnPause = 10 * time.Second
	// headroom is how many descriptors are kept from clients.
	headroom = 8
	// shedTime bounds telling one client that there is no descriptor for it.
	shedTime = 100 * time.Millisecond
	// sweepTime bounds taking and answering those who wait when a socket is closed:
	// where clients keep coming there is no last one.
	sweepTime = time.Second
)

// errSwept says that nobody waits any more, or that enough were taken.
var errSwept = errors.New("the backlog is empty")

func newListener(ln net.Listener, log *zap.Logger) (*listener, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.New("not a TCP socket")
	}
	if err := inherit(tcp); err != nil {
		return nil, err
	}
	file, err := tcp.File()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	l := &listener{
		Listener: ln, tcp: tcp, file: file, sockets: acceptor{raw: raw}, log: log, sweep: sweepTime,
		ready: make(chan struct{}), ending: make(chan struct{}), stopped: make(chan struct{}), quiet: make(chan struct{}), released: make(chan struct{}),
	}
	l.limit = math.MaxInt32
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur > headroom {
		l.limit = int(min(files.Cur-headroom, math.MaxInt32))
	}
	l.spare, _ = os.Open(os.DevNull)
	l.stop = sync.OnceFunc(func() {
		close(l.stopped)
		_ = file.Close()
		_ = ln.Close()
	})
	l.end = sync.OnceFunc(func() {
		l.ended = time.Now()
		l.until = l.ended.Add(l.sweep)
		close(l.ending)
		_ = file.SetReadDeadline(time.Unix(1, 0)) // wakes Accept
	})
	l.release = sync.OnceFunc(func() { close(l.released) })
	return l, nil
}

// Accept is part of net.Listener. Once accepting has stopped it waits for
// Close, because its caller tries again after every error.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.ready:
	case <-l.stopped:
	}
	for {
		c, err := l.next()
		if err == nil && l.last(c) {
			l.warn(syscall.EMFILE)
			shed(c, shedTime)
			continue
		}
		if err == nil {
			return relay.Hide(c), nil
		}
		select {
		case <-l.stopped:
			l.closeSpare()
			close(l.quiet)
			<-l.released
			return nil, net.ErrClosed
		default:
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // woken by end
		}
		l.warn(err)
		if exhausted(err) && l.shedNext() {
			continue
		}
		select {
		case <-l.stopped:
		case <-l.ending:
		case <-time.After(errorPause):
		}
	}
}

// next takes the next connection. At the end it takes those that wait, and then closes
// the socket: the kernel resets whoever is left in its backlog, and such a client
// would never learn that there is another proxy.
func (l *listener) next() (*accepted, error) {
	select {
	case <-l.ending:
	default:
		return l.sockets.accept()
	}
	if time.Now().Before(l.until) {
		if c, err := l.sockets.waiting(); err == nil {
			return c, nil
		}
	}
	l.stop()
	return nil, errSwept
}

func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func (l *listener) warn(err error) {
	if now := time.Now(); now.Sub(l.warned) >= warnPause {
		l.warned = now
		if exhausted(err) {
			l.log.Error("out of file descriptors: new clients are refused; raise the limit (ulimit -n) or add a proxy")
		} else {
			l.log.Warn("accept failed", zap.Error(err))
		}
	}
}

// last tells that there is no descriptor left, or one of the last, for the second
// one that the loop needs for a connection. The first says nothing of that: it is
// free again as soon as there is a second.
func (l *listener) last(c *accepted) bool {
	// A connection takes four at most, so while half of them are free it is enough to ask now and then.
	if l.unasked < min(16, l.limit/32) && l.highest > 0 && l.highest < l.limit/2 {
		l.unasked++
		return false
	}
	second, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return true
	}
	_ = unix.Close(second)
	l.highest, l.unasked = second, 0
	return second >= l.limit
}

// shedNext takes one client from the backlog and tells it to come back; false
// when that was not possible.
func (l *listener) shedNext() bool {
	if l.spare == nil {
		l.spare, _ = os.Open(os.DevNull)
	}
	if l.spare == nil {
		return false
	}
	l.closeSpare()
	defer func() { l.spare, _ = os.Open(os.DevNull) }()
	_ = l.file.SetReadDeadline(time.Now().Add(shedTime)) // somebody else may have taken it
	c, err := l.sockets.accept()
	_ = l.file.SetReadDeadline(time.Time{})
	if err != nil {
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	shed(c, shedTime)
	return true
}

// shed tells a client that there is no descriptor for it, if it sends its request
// within that time.
func shed(c *accepted, within time.Duration) {
	defer func() { _ = c.Close() }()
	if c.wait(within) != nil {
		return
	}
	// Whoever is answered with its request unread gets a reset instead.
	b := make([]byte, readSize)
	var s headScan
	for until := time.Now().Add(within); !s.found(); {
		n, err := whole(func() (int, error) { return unix.Read(c.fd, b) })
		if err != nil || n == 0 || time.Now().After(until) {
			return
		}
		s.end(b[:n])
	}
	no := refusal.New(refusal.OutOfDescriptors, "").AppendHTTP(nil)
	if _, err := whole(func() (int, error) { return unix.Write(c.fd, no) }); err == nil && unix.Shutdown(c.fd, unix.SHUT_WR) == nil {
		_, _ = whole(func() (int, error) { return unix.Read(c.fd, b) })
	}
}

// whole makes a call again that a signal cut short. The runtime's own signals do
// that to every call on a socket with a time limit (signal(7)).
func whole(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (l *listener) closeSpare() {
	if l.spare != nil {
		_ = l.spare.Close()
		l.spare = nil
	}
}

// Close is part of net.Listener; the engine calls it when it stops.
func (l *listener) Close() error {
	l.stop()
	l.release()
	return nil
}
