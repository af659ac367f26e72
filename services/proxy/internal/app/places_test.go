package app

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
)

// TestPlaces has many clients take and leave places at once: never more of them
// than there are, and whoever was refused has taken nothing.
func TestPlaces(t *testing.T) {
	p := newPlaces(zaptest.NewLogger(t))
	require.Positive(t, p.limit)
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
