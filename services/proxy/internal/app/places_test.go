package app

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// TestPlaces has many clients take and leave places at once: never more of them
// than there are, and whoever was refused has taken nothing.
func TestPlaces(t *testing.T) {
	p := newPlaces(zaptest.NewLogger(t))
	require.Positive(t, p.limit)
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	require.Positive(t, p.rooms)
	require.Less(t, p.limit*perSession+2*int64(p.pipes+p.rooms)+spared, int64(min(files.Cur, 1<<31)), "nothing is left for who has no session yet")
	const limit = 5
	p.limit = limit
	var inside, refused atomic.Int64
	var all sync.WaitGroup
	for range 4 * limit {
		all.Go(func() {
			for range 1000 {
				if !p.take() {
					refused.Add(1)
					continue
				}
				if now := inside.Add(1); now > limit {
					t.Errorf("%d have one of %d places", now, limit)
				}
				inside.Add(-1)
				p.leave()
			}
		})
	}
	all.Wait()
	for range limit {
		require.True(t, p.take(), "a place is lost")
	}
	require.False(t, p.take())
	p.leave()
	require.True(t, p.take(), "who was refused keeps a place")
}
