package samehost

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestUnpaceLeavesOnlyWhatPaces(t *testing.T) {
	for was, want := range map[string]string{"bbr": "reno", "reno": "reno", "cubic": "cubic"} {
		for _, network := range []string{"tcp4", "tcp6"} {
			t.Run(was+" over "+network, func(t *testing.T) {
				fd := connected(t, network)
				if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, was); err != nil {
					t.Skipf("%s is not to be had here: %v", was, err)
				}
				Unpace(fd)
				require.Equal(t, want, congestionControl(t, fd))
			})
		}
	}
}

// TestUnpaceOfSomethingElse has nothing happen to it, and nothing break.
func TestUnpaceOfSomethingElse(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	for _, fd := range append(pair[:], -1) {
		Unpace(fd)
		require.False(t, local(fd))
	}
	for _, fd := range pair {
		require.NoError(t, unix.Close(fd))
	}
	alone, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(alone) }()
	require.False(t, local(alone), "it is not connected")
}

func TestWhoIsOnTheSameHost(t *testing.T) {
	for _, c := range []struct {
		here, there string
		want        bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", true},
		{"::1", "::1", true},
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"2001:db8::7", "2001:db8::7", true},
		{"2001:db8::7", "2001:db8::8", false},
	} {
		here, there := netip.MustParseAddr(c.here), netip.MustParseAddr(c.there)
		require.Equal(t, c.want, sameHost(here, there), "%s to %s", here, there)
	}
	require.False(t, sameHost(netip.Addr{}, netip.Addr{}))
	mapped := &unix.SockaddrInet6{Addr: netip.MustParseAddr("::ffff:127.0.0.1").As16()}
	require.True(t, sameHost(address(mapped), address(mapped)))
}

// connected is one end of a connection of this process with itself.
func connected(t *testing.T, network string) (fd int) {
	t.Helper()
	at := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network]
	l, err := net.Listen(network, at)
	if err != nil && network == "tcp6" {
		t.Skipf("no IPv6 here: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	c, err := net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	f, err := c.(*net.TCPConn).File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

func congestionControl(t *testing.T, fd int) string {
	t.Helper()
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	require.NoError(t, err)
	return name
}
