package app

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAProxyRunsOnAsManyProcessorsAsItHasLoops(t *testing.T) {
	was := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(was) })
	require.Equal(t, 3, Relay{Pollers: 3}.pollers())
	require.Equal(t, max(1, runtime.NumCPU()/2), Relay{}.pollers())

	t.Setenv("GOMAXPROCS", "4")
	newProcessors(1)
	require.Equal(t, 4, runtime.GOMAXPROCS(0), "who has set it knows better")

	t.Setenv("GOMAXPROCS", "")
	newProcessors(8)
	require.Equal(t, 4, runtime.GOMAXPROCS(0), "never more than there are")
	newProcessors(1)
	require.Equal(t, 1, runtime.GOMAXPROCS(0))
}

func TestACrowdHasAllProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Int64
		p := &processors{few: 1, all: 4, set: func(n int) { now.Store(int64(n)) }}
		p.set(1)
		after := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		for range 10 * crowd { // one by one
			p.client()
			after(crowdTime / (crowd - 1))
			after(time.Millisecond)
		}
		require.EqualValues(t, 1, now.Load())
		for range crowd + 1 {
			p.client()
		}
		require.EqualValues(t, 4, now.Load())
		after(crowdRest * 3 / 4)
		for range crowd + 1 {
			p.client()
		}
		after(crowdRest * 3 / 4)
		require.EqualValues(t, 4, now.Load(), "there was a crowd meanwhile")
		after(crowdRest / 2)
		require.EqualValues(t, 1, now.Load())
		p.client()
		require.EqualValues(t, 1, now.Load(), "one client is no crowd")
		after(10 * crowdRest)
		for range crowd + 1 {
			p.client()
		}
		require.EqualValues(t, 4, now.Load(), "and again")
		after(10 * crowdRest)
		require.EqualValues(t, 1, now.Load())
	})
}
