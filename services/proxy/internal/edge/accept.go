package edge

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/keepalive"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
)

// inherit sets what accepted connections inherit from the listening socket, where
// setting it takes no call for each of them.
//
// The kernel's probes are for clients that wait for a browser, whom nobody pings, and
// for sessions where pings are turned off. The relay's pings make peers answer more
// often than they come.
func inherit(ln *net.TCPListener) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = setIdle(fd)
		for _, o := range [][3]int{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepalive.Pause.Seconds())},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepalive.Count},
		} {
			failed = errors.Join(failed, os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), o[0], o[1], o[2])))
		}
		failed = errors.Join(failed, os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &blocked)))
	})
	return errors.Join(err, failed)
}

// blocked is how long accepting waits in the kernel where it should not wait at all: a service
// manager whose socket it is can make that block for all who have it, as systemd does whenever it
// starts one of them. Nothing else would end that wait but the next client, and closing waits
// for it. (Go's own sockets are of MPTCP, which does not know the limit; but they are nobody
// else's.) Connections inherit it, and nothing is read from them in a way that it is for.
var blocked = unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())

// acceptor takes connections without the runtime's poller, which would watch
// each for no longer than until nbio does. It is for one goroutine.
type acceptor struct {
	raw   syscall.RawConn
	taken uint
}

// sameIdle is how many connections in a row inherit when they are probed first.
const sameIdle = 8

// accept takes the next connection, and waits for it.
func (a *acceptor) accept() (*accepted, error) {
	var c *accepted
	var failed error
	err := a.raw.Read(func(fd uintptr) bool {
		c, failed = a.take(fd)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err == nil {
		err = failed
	}
	return c, err
}

// waiting takes the next connection that is there already.
func (a *acceptor) waiting() (*accepted, error) {
	var c *accepted
	var failed error
	err := a.raw.Control(func(fd uintptr) { c, failed = a.take(fd) })
	if err == nil {
		err = failed
	}
	return c, err
}

func (a *acceptor) take(fd uintptr) (*accepted, error) {
	for {
		// That of package unix asks for the protocol each time.
		n, from, err := syscall.Accept4(int(fd), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		switch {
		case err == nil:
			if a.taken++; a.taken%sameIdle == 0 {
				_ = setIdle(fd)
			}
			return &accepted{fd: n, remote: tcpAddress(from)}, nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		default:
			return nil, os.NewSyscallError("accept4", err)
		}
	}
}

// setIdle chooses anew how long what is accepted may be silent until it is probed.
func setIdle(listener uintptr) error {
	err := unix.SetsockoptInt(int(listener), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepalive.Idle().Seconds()))
	return os.NewSyscallError("setsockopt", err)
}

// accepted is a connection as accept gives it: a descriptor and an address.
type accepted struct {
	net.Conn // nil

	fd     int
	remote net.Addr
}

func (c *accepted) LocalAddr() net.Addr                   { return nil }
func (c *accepted) RemoteAddr() net.Addr                  { return c.remote }
func (c *accepted) Close() error                          { return nowait.Close(c.fd) }
func (c *accepted) SyscallConn() (syscall.RawConn, error) { return rawFD(c.fd), nil }

// wait has reads and writes wait for so long. It takes no descriptor, as
// anything of package net would.
func (c *accepted) wait(d time.Duration) error {
	limit := unix.NsecToTimeval(d.Nanoseconds())
	return errors.Join(
		unix.SetNonblock(c.fd, false),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
	)
}

type rawFD int

func (fd rawFD) Control(f func(uintptr)) error { f(uintptr(fd)); return nil }
func (rawFD) Read(func(uintptr) bool) error    { return errors.ErrUnsupported }
func (rawFD) Write(func(uintptr) bool) error   { return errors.ErrUnsupported }

func tcpAddress(from syscall.Sockaddr) net.Addr {
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *syscall.SockaddrInet6:
		zone := ""
		if a.ZoneId != 0 {
			zone = strconv.Itoa(int(a.ZoneId))
		}
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port, Zone: zone}
	}
	return nil
}
