package dial_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
)

// The kernel probes no worker: of thousands of probes at once it would lose some.
func TestWorkersAreNotProbed(t *testing.T) {
	t.Parallel()
	w := answers(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n", false)
	c, err := w.dial(t, dial.Upgrade{})
	require.NoError(t, err)
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	on := -1
	require.NoError(t, raw.Control(func(fd uintptr) {
		on, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	}))
	require.NoError(t, err)
	require.Zero(t, on)
}
