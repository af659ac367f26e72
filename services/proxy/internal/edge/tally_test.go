package edge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Who waits for those that came after a time waits for these only, and for whoever takes the
// place of one of them.
func TestTally(t *testing.T) {
	now := time.Now()
	early, late, again := &door{since: now.Add(-time.Second)}, &door{since: now.Add(time.Second)}, &door{since: now.Add(time.Second)}
	over := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	var all tally
	require.True(t, over(all.none(time.Time{})))
	all.enter(early)
	require.True(t, over(all.none(now)))
	all.enter(late)
	young, whoever := all.none(now), all.none(time.Time{})
	all.enter(again)
	all.leave(late)
	require.False(t, over(young))
	all.leave(again)
	require.True(t, over(young))
	require.False(t, over(whoever))
	all.leave(early)
	require.True(t, over(whoever))
}
