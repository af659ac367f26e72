package nowait_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
)

func socket(t *testing.T, family int) int {
	t.Helper()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	return fd
}

// local is the address of a socket.
func local(t *testing.T, fd int) netip.AddrPort {
	t.Helper()
	a, err := unix.Getsockname(fd)
	require.NoError(t, err)
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// TestConversation is one over each family, from connecting to closing.
func TestConversation(t *testing.T) {
	for name, c := range map[string]struct {
		network, address string
		family           int
	}{
		"IPv4": {"tcp4", "127.0.0.1:0", unix.AF_INET},
		"IPv6": {"tcp6", "[::1]:0", unix.AF_INET6},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen(c.network, c.address)
			require.NoError(t, err)
			defer func() { _ = ln.Close() }()
			require.NoError(t, ln.(*net.TCPListener).SetDeadline(time.Now().Add(20*time.Second)))
			here := socket(t, c.family)
			require.NoError(t, nowait.Connect(here, netip.MustParseAddrPort(ln.Addr().String())))
			peer, err := ln.Accept()
			require.NoError(t, err)
			defer func() { _ = peer.Close() }()
			require.Equal(t, peer.RemoteAddr().String(), local(t, here).String())
			raw, err := peer.(*net.TCPConn).SyscallConn()
			require.NoError(t, err)
			var there int
			require.NoError(t, raw.Control(func(fd uintptr) { there = int(fd) }))

			require.NoError(t, nowait.Set(here, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
			on, err := unix.GetsockoptInt(here, unix.IPPROTO_TCP, unix.TCP_NODELAY)
			require.NoError(t, err)
			require.Equal(t, 1, on)

			b := make([]byte, 8)
			require.False(t, nowait.Poll(there, unix.POLLIN))
			_, err = nowait.Receive(there, b)
			require.ErrorIs(t, err, unix.EAGAIN)
			n, err := nowait.Send(here, []byte("word"), true)
			require.NoError(t, err)
			require.Equal(t, 4, n)
			kept, err := unix.IoctlGetInt(here, unix.SIOCOUTQNSD)
			require.NoError(t, err)
			require.Equal(t, 4, kept)
			require.NoError(t, nowait.Shutdown(here, unix.SHUT_WR))
			require.Eventually(t, func() bool { return nowait.Poll(there, unix.POLLRDHUP) }, 20*time.Second, time.Millisecond)
			n, err = nowait.Receive(there, b)
			require.NoError(t, err)
			require.Equal(t, "word", string(b[:n]))
			n, err = nowait.Receive(there, b)
			require.NoError(t, err)
			require.Zero(t, n)

			require.NoError(t, nowait.Close(here))
			require.ErrorIs(t, nowait.Close(here), unix.EBADF)
		})
	}
}

// TestFailures are passed on.
func TestFailures(t *testing.T) {
	fd := socket(t, unix.AF_INET)
	defer func() { _ = nowait.Close(fd) }()
	require.ErrorIs(t, nowait.Connect(fd, netip.MustParseAddrPort("[::1]:1")), unix.EAFNOSUPPORT)
	require.ErrorIs(t, nowait.Set(fd, unix.IPPROTO_TCP, -1, 1), unix.ENOPROTOOPT)
	require.ErrorIs(t, nowait.Shutdown(fd, unix.SHUT_WR), unix.ENOTCONN)
	_, err := nowait.Send(fd, []byte("word"), false)
	require.Error(t, err)
}
