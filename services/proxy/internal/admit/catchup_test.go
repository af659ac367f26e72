package admit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However long it takes to ask again for everybody who waits, the pool goes on hearing of
// the proxy: it would end them all if it did not.
func TestHeartbeatsDoNotWaitForTheClients(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	x.ask("s1", time.Minute)
	x.ask("s2", time.Minute)
	p.eventually("both wait", func() bool { return len(p.queue()) == 2 })
	slow := x.store.hold()

	x.Admitter.heartbeat(t.Context(), true)
	p.eventually("it asks", func() bool { return len(slow.asked) == 1 })
	lease := p.lease("p1")
	p.eventually("a later lease", func() bool {
		x.Admitter.heartbeat(t.Context(), false)
		return p.lease("p1") > lease
	})
	require.Len(t, slow.asked, 1, "nobody has been answered")
	x.mu.Lock()
	busy := x.behind.busy
	x.mu.Unlock()
	require.True(t, busy)

	// What becomes due meanwhile is done afterwards.
	x.Admitter.heartbeat(t.Context(), true)
	close(slow.answer)
	x.behind.Wait()
	require.Len(t, slow.asked, 4)
}

func TestCancelsOfALongOutage(t *testing.T) {
	x := newPool(t).proxy("p1")
	for range cancelsKept {
		x.later(cancelled{"old", "cancelled"})
	}
	x.later(cancelled{"new", "cancelled"})
	require.Len(t, x.behind.cancels, cancelsKept)
	require.Equal(t, "new", x.behind.cancels[cancelsKept-1].session)
}

// A Redis that takes long to end what is due keeps no heartbeat waiting.
func TestReapingLeavesTimeForHeartbeats(t *testing.T) {
	x := newPool(t).proxy("p1", func(o *Options) { o.Heartbeat = 100 * time.Millisecond })
	x.store.set(true, "endless reap")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.Zero(t, x.reap(ctx), "there is more to do")
}
