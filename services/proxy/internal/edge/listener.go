package edge

import (
	"context"
	"errors"
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
	tcp      *net.TCPListener
	log      *zap.Logger
	accepted func() // is told of every connection; may be nil

	// limit is the number above which descriptors are the last ones.
	limit uintptr
	// spare is a descriptor to fall back on when there is no other: with it a
	// client can be told why it is not served.
	spare *os.File

	stopped  chan struct{}
	stop     func() // closes the socket
	quiet    chan struct{}
	released chan struct{}
	release  func()
	warned   time.Time // Accept's
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
)

func listen(network, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 20 * time.Second, Count: 2}}
	return lc.Listen(context.Background(), network, addr)
}

func newListener(ln net.Listener, log *zap.Logger) (*listener, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.New("not a TCP socket")
	}
	l := &listener{
		Listener: ln, tcp: tcp, log: log,
		stopped: make(chan struct{}), quiet: make(chan struct{}), released: make(chan struct{}),
	}
	l.limit = ^uintptr(0)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && files.Cur > headroom {
		l.limit = uintptr(files.Cur - headroom)
	}
	l.spare, _ = os.Open(os.DevNull)
	l.stop = sync.OnceFunc(func() {
		close(l.stopped)
		_ = ln.Close()
	})
	l.release = sync.OnceFunc(func() { close(l.released) })
	return l, nil
}

// Accept is part of net.Listener. Once accepting has stopped it waits for
// Close, because its caller tries again after every error.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil && l.last(c) {
			l.warn(syscall.EMFILE)
			shed(c)
			continue
		}
		if err == nil {
			if l.accepted != nil {
				l.accepted()
			}
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
		l.warn(err)
		if exhausted(err) && l.shedNext() {
			continue
		}
		select {
		case <-l.stopped:
		case <-time.After(errorPause):
		}
	}
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
// one that the loop needs for a connection.
func (l *listener) last(c net.Conn) bool {
	last := false
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				probe, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
				last = err != nil || uintptr(probe) >= l.limit
				if err == nil {
					_ = unix.Close(probe)
				}
			})
		}
	}
	return last
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
	_ = l.tcp.SetDeadline(time.Now().Add(shedTime)) // somebody else may have taken it
	c, err := l.Listener.Accept()
	_ = l.tcp.SetDeadline(time.Time{})
	if err != nil {
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	shed(c)
	return true
}

// shed tells a client that there is no descriptor for it.
func shed(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(shedTime))
	// Whoever is answered with its request unread gets a reset instead.
	b := make([]byte, readSize)
	var s headScan
	for !s.found() {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		s.end(b[:n])
	}
	no := refusal.New(refusal.OutOfDescriptors, "")
	_, _ = c.Write(no.AppendHTTP(nil))
	if t, ok := c.(*net.TCPConn); ok && t.CloseWrite() == nil {
		_, _ = c.Read(b)
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
