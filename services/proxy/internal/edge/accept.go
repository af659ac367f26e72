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
		for _, o := range [][3]int{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepalive.Pause.Seconds())},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepalive.Count},
		} {
			failed = errors.Join(failed, os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), o[0], o[1], o[2])))
		}
	})
	return errors.Join(err, failed)
}

// accept takes the next connection, without the runtime's poller, which would
// watch it for no longer than until nbio does.
func accept(ln syscall.RawConn) (*accepted, error) {
	var c *accepted
	var failed error
	err := ln.Read(func(fd uintptr) bool {
		for {
			n, from, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch {
			case err == nil:
				// Not inherited, so that it is another time for each.
				_ = unix.SetsockoptInt(n, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepalive.Idle().Seconds()))
				c = &accepted{fd: n, remote: tcpAddress(from)}
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
				continue
			default:
				failed = os.NewSyscallError("accept4", err)
			}
			return true
		}
	})
	if err == nil {
		err = failed
	}
	return c, err
}

// accepted is a connection as accept gives it: a descriptor and an address.
type accepted struct {
	net.Conn // nil

	fd     int
	remote net.Addr
}

func (c *accepted) LocalAddr() net.Addr                   { return nil }
func (c *accepted) RemoteAddr() net.Addr                  { return c.remote }
func (c *accepted) Close() error                          { return unix.Close(c.fd) }
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

func tcpAddress(from unix.Sockaddr) net.Addr {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		zone := ""
		if a.ZoneId != 0 {
			zone = strconv.Itoa(int(a.ZoneId))
		}
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port, Zone: zone}
	}
	return nil
}
