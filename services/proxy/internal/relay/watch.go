package relay

import (
	"errors"
	"net"
	"syscall"

	"github.com/lesismal/nbio/nbhttp"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
)

// Watched is what the event loop keeps as a connection's session. It must be
// set before the connection is registered, because nbio reads that field
// without a lock.
type Watched interface {
	// ParserCloser is what nbhttp wants. CloseAndClean tells that the loop does
	// not watch the connection any more.
	nbhttp.ParserCloser
	// Ready runs on the loop: there is something to read, or an end to see.
	Ready()
}

// Hide makes a connection that nbio only watches: of a type that it does not
// know, it neither reads nor writes nor closes the descriptor that it makes of
// it. That descriptor, nbio.Conn's Hash, is to be closed by whoever uses it,
// after the nbio.Conn.
//
// nbio closes a connection as soon as its peer has sent FIN or a write fails,
// and with it would go what the peer sent before and nobody has read yet, and
// what it still waits for. A second descriptor does not save that: the socket
// stays registered under the number that nbio closed, and its next event ends
// whatever connection has that number by then.
func Hide(conn net.Conn) net.Conn { return hidden{conn} }

type hidden struct{ net.Conn }

// LocalAddr is nil: nbio would keep it for as long as the connection lives, and
// nobody asks.
func (hidden) LocalAddr() net.Addr { return nil }

func (h hidden) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := h.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.New("relay: not a socket")
}

// nameless is a hidden connection without addresses.
type nameless struct{ hidden }

func (nameless) RemoteAddr() net.Addr { return nil }

// descriptor is a socket that is registered once more: nbio makes itself
// another number for it.
type descriptor struct {
	net.Conn // nil
	fd       int
}

// Again is a socket that the loop has dropped by mistake, in a form that it can
// be given anew: with another descriptor. ok is false when its peer has gone.
func Again(fd int, remote net.Addr) (conn net.Conn, ok bool) {
	if peerGone(fd) {
		return nil, false
	}
	return addressed{descriptor{fd: fd}, remote}, true
}

type addressed struct {
	descriptor
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func (d descriptor) LocalAddr() net.Addr                   { return nil }
func (d descriptor) RemoteAddr() net.Addr                  { return nil }
func (d descriptor) Close() error                          { return nil }
func (d descriptor) SyscallConn() (syscall.RawConn, error) { return raw(d.fd), nil }

type raw int

func (r raw) Control(f func(fd uintptr)) error { f(uintptr(r)); return nil }
func (raw) Read(func(fd uintptr) bool) error   { return errors.ErrUnsupported }
func (raw) Write(func(fd uintptr) bool) error  { return errors.ErrUnsupported }

// peerGone asks the kernel whether a peer has sent FIN or reset the connection.
func peerGone(fd int) bool { return nowait.Poll(fd, unix.POLLRDHUP) }

func closeFD(fd int) { _ = nowait.Close(fd) }
