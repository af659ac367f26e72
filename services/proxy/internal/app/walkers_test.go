package app

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/edge"
)

func TestWalkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients = 3 * idleWalkers
		var mu sync.Mutex
		seen := map[string]int{}
		gate := make(chan struct{})
		w := newWalkers(func(u edge.Upgrade) {
			mu.Lock()
			seen[u.Remote]++
			mu.Unlock()
			<-gate
		})
		round := func() {
			for i := range clients {
				w.lead(edge.Upgrade{Remote: string(rune('a' + i))})
			}
			synctest.Wait()
			require.Len(t, seen, clients, "nobody waits for another one's walk to end")
		}
		round()
		close(gate)
		synctest.Wait()
		require.Len(t, w.idle, idleWalkers, "the others have ended")
		for _, n := range seen {
			require.Equal(t, 1, n)
		}
		clear(seen)
		gate = make(chan struct{})
		round()
		close(gate)
		synctest.Wait()
		w.stop()
		synctest.Wait()
		require.Empty(t, w.idle, "nobody is left behind")
	})
}
