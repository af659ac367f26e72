package relay_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// raw calls f with the descriptor of a connection.
func raw(t *testing.T, c *net.TCPConn, f func(fd int)) {
	t.Helper()
	r, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, r.Control(func(fd uintptr) { f(int(fd)) }))
}

// segments is how many segments a connection has received.
func segments(t *testing.T, c *net.TCPConn) (n uint32) {
	t.Helper()
	raw(t, c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		require.NoError(t, err)
		n = info.Segs_in
	})
	return n
}

// TestLastWords has a worker's last words and its end come in one segment, and go on
// to the client in one.
func TestLastWords(t *testing.T) {
	s := newRig(t).session()
	before := segments(t, s.client)
	raw(t, s.worker, func(fd int) {
		require.NoError(t, unix.Sendto(fd, []byte("last words"), unix.MSG_MORE, nil))
		require.NoError(t, unix.Shutdown(fd, unix.SHUT_WR))
	})
	require.Equal(t, "last words", string(rest(t, s.client)))
	require.Equal(t, uint32(1), segments(t, s.client)-before)
	_ = s.client.Close()
	s.ended()
}

// TestNotTheLastWords has the loop say of a worker that stays that its end is there.
// What it sends does not wait in the kernel for what would follow.
func TestNotTheLastWords(t *testing.T) {
	s := newRig(t).session()
	for range 20 {
		s.Leaving()
		write(t, s.worker, []byte("more to come"))
		require.Eventually(t, s.Stays, patience, time.Millisecond)
		require.Zero(t, s.Unsent())
		require.Equal(t, "more to come", string(read(t, s.client, len("more to come"))))
	}
	_, _ = s.client.Close(), s.worker.Close()
	s.ended()
}
