package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
)

// Link is a connection to a worker before there is a session on it. Start makes
// it one without registering anything anew. It is a net.Conn for one goroutine;
// deadlines and Close may come from others.
//
// A connection of package net costs a session half a dozen system calls more: it
// asks for names that nobody wants, and is watched by the runtime's poller until
// the loop watches a copy of its descriptor.
type Link struct {
	session *Session // that it is going to have
	remote  netip.AddrPort
	watched bool // by the loop
	ready   chan struct{}

	mu      sync.Mutex
	expired chan struct{} // is closed when the deadline has come
	timer   *time.Timer   // for the deadline; nil while there is none
	over    bool          // closed, or its session's
}

// DialContext is that of net.Dialer for TCP and addresses, without names. It
// returns while the connection is still being made: whether that succeeds is
// what the first Write tells.
func (r *Relay) DialContext(_ context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	k := &Link{remote: to, ready: make(chan struct{}, 1), expired: make(chan struct{})}
	fd, err := connecting(to)
	if err != nil {
		return nil, k.failed("dial", err)
	}
	k.session = &Session{relay: r, worker: leg{relay: r, fd: fd, side: workerSide}}
	return k, nil
}

// connecting is a socket on its way to an address.
func connecting(to netip.AddrPort) (fd int, err error) {
	family := unix.AF_INET6
	if to.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err = nowait.Set(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err == nil {
		err = nowait.Connect(fd, to)
	}
	if err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

func (k *Link) leg() *leg { return &k.session.worker }

// Write waits until the connection stands and has taken all of it. On one
// machine it stands already.
func (k *Link) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := nowait.Send(k.leg().fd, p[n:], false)
		switch {
		case m > 0:
			n += m
		case errors.Is(err, unix.EAGAIN):
			if err := k.room(); err != nil {
				return n, k.failed("write", err)
			}
		default:
			return n, k.failed("write", os.NewSyscallError("send", err))
		}
	}
	return n, nil
}

// room waits until the connection takes something.
func (k *Link) room() error {
	there := make(chan struct{})
	wait, err := k.leg().room(func() { close(there) })
	if err != nil {
		return err
	}
	select {
	case <-there:
		return nil
	case <-k.deadline():
		_ = wait.Close()
		<-there
		return os.ErrDeadlineExceeded
	}
}

// Read has the loop watch the connection from its first call on.
func (k *Link) Read(p []byte) (int, error) {
	if !k.watched {
		if err := k.watch(); err != nil {
			return 0, k.failed("read", err)
		}
	}
	for {
		select {
		case <-k.ready:
		case <-k.deadline():
			return 0, k.failed("read", os.ErrDeadlineExceeded)
		}
		n, err := nowait.Receive(k.leg().fd, p)
		switch {
		case n > 0:
			if n == len(p) || k.leg().over.Load() {
				k.wake() // there may be more, of which no event tells
			}
			return n, nil
		case n == 0:
			return 0, io.EOF
		case !errors.Is(err, unix.EAGAIN):
			return 0, k.failed("read", os.NewSyscallError("recv", err))
		}
	}
}

// wake leaves word that there is something to read, or an end to see.
func (k *Link) wake() {
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

// watch has the loop watch the connection.
func (k *Link) watch() error {
	conn, err := nbio.NBConn(nameless{hidden{owned{descriptor{fd: k.leg().fd}}}})
	if err != nil {
		return err
	}
	k.leg().fd = conn.Hash()
	return k.register(conn)
}

// register gives the connection to the loop. A relay that is closed takes none.
func (k *Link) register(conn *nbio.Conn) error {
	l := k.leg()
	l.watched, k.watched = conn, true
	conn.SetSession(l)
	l.link.Store(k)
	l.relay.mu.Lock()
	defer l.relay.mu.Unlock()
	if l.relay.closed {
		return ErrClosed
	}
	return l.register(conn)
}

// owned is a descriptor that is closed with what it stands for: nbio makes itself
// a copy.
type owned struct{ descriptor }

func (o owned) Close() error { return nowait.Close(o.fd) }

// take makes the connection its session's.
func (k *Link) take() (*Session, error) {
	if !k.watched {
		if err := k.watch(); err != nil {
			return nil, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return nil, net.ErrClosed
	}
	k.over = true
	k.stopTimer()
	return k.session, nil
}

// Close is without effect once there is a session.
func (k *Link) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return nil
	}
	k.over = true
	k.stopTimer()
	if k.watched {
		k.leg().close()
	} else {
		closeFD(k.leg().fd)
	}
	return nil
}

func (k *Link) deadline() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.expired
}

// SetDeadline bounds what waits now and what is going to wait.
func (k *Link) SetDeadline(t time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopTimer()
	select {
	case <-k.expired:
		k.expired = make(chan struct{})
	default:
	}
	if t.IsZero() || k.over {
		return nil
	}
	expired := k.expired
	if rest := time.Until(t); rest > 0 {
		k.timer = time.AfterFunc(rest, func() { close(expired) })
	} else {
		close(expired)
	}
	return nil
}

// stopTimer gives up a deadline that has not come. Where it comes just now, the
// channel that it closes is nobody's any more.
func (k *Link) stopTimer() {
	if k.timer != nil && !k.timer.Stop() {
		k.expired = make(chan struct{})
	}
	k.timer = nil
}

// SetReadDeadline is SetDeadline: who reads does not write.
func (k *Link) SetReadDeadline(t time.Time) error { return k.SetDeadline(t) }

// SetWriteDeadline is SetDeadline.
func (k *Link) SetWriteDeadline(t time.Time) error { return k.SetDeadline(t) }

// LocalAddr is nil: nobody asks, and the kernel would have to be.
func (*Link) LocalAddr() net.Addr { return nil }

// RemoteAddr is the worker's address.
func (k *Link) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(k.remote) }

func (k *Link) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: k.RemoteAddr(), Err: err}
}
