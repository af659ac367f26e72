package faults

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// port is a number of this machine that stays ours whether we listen or not.
type port struct {
	address syscall.SockaddrInet4
	keeper  int // a socket that is bound and never listens
}

// Several sockets may be bound to one port if all of them allow it and at most
// one listens. A port that is bound so is given to nobody else.
func bound(address syscall.SockaddrInet4) (fd int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	if err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, &address))
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func openPort() (*port, error) {
	keeper, err := bound(syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err != nil {
		return nil, err
	}
	name, err := syscall.Getsockname(keeper)
	if err != nil {
		_ = syscall.Close(keeper)
		return nil, os.NewSyscallError("getsockname", err)
	}
	return &port{address: *name.(*syscall.SockaddrInet4), keeper: keeper}, nil
}

func (p *port) String() string { return fmt.Sprintf("127.0.0.1:%d", p.address.Port) }

func (p *port) close() { _ = syscall.Close(p.keeper) }

// listen takes connections.
func (p *port) listen() (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp4", p.String())
}

// endListening has nobody listen at once. A process that is just being started has
// the socket, too, until it runs its program: so closing ours alone may not do.
func endListening(l net.Listener) {
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RD) })
	}
}

// deaf returns a socket that listens and whose queue is full, so that the
// system drops every further handshake until the socket is closed.
func (p *port) deaf() (fd int, err error) {
	fd, err = bound(p.address)
	if err != nil {
		return -1, err
	}
	if err := syscall.Listen(fd, 0); err != nil {
		_ = syscall.Close(fd)
		return -1, os.NewSyscallError("listen", err)
	}
	// The shortest queue has one place. If this connection does not get it,
	// somebody else has. It may go at once: its place stays taken.
	if c, err := net.DialTimeout("tcp4", p.String(), time.Second); err == nil {
		_ = c.Close()
	}
	return fd, nil
}
