package dial_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
)

// option is what the kernel knows of a connection to a worker.
func option(t *testing.T, d dial.Dialer, level, name int) int {
	t.Helper()
	w := answers(t, switched, false)
	c, err := d.Dial(t.Context(), w.grant(), dial.Upgrade{})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	got := -1
	require.NoError(t, raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), level, name) }))
	require.NoError(t, err)
	return got
}

// The kernel probes no worker that is pinged: of thousands of probes at once it
// would lose some.
func TestWorkersAreNotProbed(t *testing.T) {
	t.Parallel()
	require.Zero(t, option(t, dial.Dialer{}, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
}

// Where nobody is pinged it probes them all, and not at once.
func TestWorkersAreProbedOneByOne(t *testing.T) {
	t.Parallel()
	d := dial.Dialer{Probe: true}
	require.Equal(t, 1, option(t, d, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
	require.Equal(t, 15, option(t, d, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL))
	require.Equal(t, 4, option(t, d, unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
	times := map[int]bool{}
	for range 20 {
		idle := option(t, d, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		require.GreaterOrEqual(t, idle, 60)
		require.Less(t, idle, 180)
		times[idle] = true
	}
	require.Greater(t, len(times), 10)
}
