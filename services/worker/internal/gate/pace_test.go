package gate

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestPaceOfMuch has a proxy on this machine sent as much as fills a buffer, which BBR
// is to have no part in; less is not worth a look.
func TestPaceOfMuch(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	far, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer func() { _ = far.Close() }()
	c, err := l.Accept()
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	s, err := newSocket(c)
	require.NoError(t, err)

	pace := func() (name string, err error) {
		_ = s.raw.Control(func(fd uintptr) {
			name, err = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		})
		return name, err
	}
	_ = s.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "bbr")
	})
	if err != nil {
		t.Skipf("BBR is not to be had here: %v", err)
	}
	for _, c := range []struct {
		size int
		want string
	}{{200, "bbr"}, {bufferSize - 1, "bbr"}, {bufferSize, "reno"}} {
		require.NoError(t, s.send(bytes.Repeat([]byte("x"), c.size), time.Minute))
		now, err := pace()
		require.NoError(t, err)
		require.Equal(t, c.want, now, "%d bytes", c.size)
	}
}
