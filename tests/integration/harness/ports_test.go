package harness

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// A port is given out once, and its server can end and come back there.
func TestPortIsKept(t *testing.T) {
	p := Port(t)
	for range 2 {
		require.False(t, keep(p))
		require.False(t, Listens(loopback(p)))
		l, err := net.Listen("tcp", loopback(p))
		require.NoError(t, err)
		require.True(t, Listens(loopback(p)))
		require.False(t, keep(p))
		require.NoError(t, l.Close())
	}
}
