package app

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProxyRunsOnAsManyProcessorsAsItHasLoops(t *testing.T) {
	t.Cleanup(func() { runtime.GOMAXPROCS(runtime.NumCPU()) })
	require.Equal(t, 3, Relay{Pollers: 3}.pollers())
	require.Equal(t, max(1, runtime.NumCPU()/2), Relay{}.pollers())

	t.Setenv("GOMAXPROCS", "")
	limitProcessors(1)
	require.Equal(t, 1, runtime.GOMAXPROCS(0))

	t.Setenv("GOMAXPROCS", "2")
	limitProcessors(3)
	require.Equal(t, 1, runtime.GOMAXPROCS(0), "who has set it knows better")
}
