package app

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMemory gives memory back once after a storm, not during it, and not for
// a few sessions.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var releases atomic.Int32
		m := &memory{rest: memoryRest, release: func() { releases.Add(1) }}
		after := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		for range memoryWorth - 1 {
			m.session()
		}
		after(10 * memoryRest)
		require.Zero(t, releases.Load(), "a few sessions are not worth it")
		for range 20 { // a storm of several rests
			m.session()
			after(memoryRest / 2)
		}
		require.Zero(t, releases.Load(), "sessions still begin")
		after(2 * memoryRest)
		require.EqualValues(t, 1, releases.Load())
		after(10 * memoryRest)
		require.EqualValues(t, 1, releases.Load(), "once for each storm")
	})
}
