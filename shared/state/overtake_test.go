package state_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// A slot can be free for a moment beside a client who waits: behind so many of
// a dead proxy's that one call does not end them all. Who comes in this moment,
// or loses the worker that it was given, goes behind who is older (I4).
func TestNobodyOvertakesBehindTheTicketsOfADeadProxy(t *testing.T) {
	behind := func(t *testing.T) *pool {
		t.Helper()
		p := newPool(t)
		p.proxyBeat("p1")
		p.join(worker("w2", 1))
		p.acquire("moved")
		for i := range 350 {
			r := request(fmt.Sprint("dead", i))
			r.Proxy, r.QueueLimit = "p2", 1000
			p.ask(r)
		}
		r := request("older")
		r.QueueLimit = 1000
		p.ask(r)
		p.expire(p.k.Proxies(), "p2")
		p.join(worker("w1", 1))
		require.Empty(t, p.dump().set["held:w1"])
		return p
	}
	t.Run("acquire", func(t *testing.T) {
		p := behind(t)
		r := request("younger")
		r.QueueLimit = 1000
		for range 3 {
			if p.ask(r).Phase != state.Queued {
				break
			}
			p.proxyBeat("p3")
		}
		require.Equal(t, "assigned", p.dump().hash["session:older"]["state"])
		require.Equal(t, "queued", p.dump().hash["session:younger"]["state"])
	})
	t.Run("reassign", func(t *testing.T) {
		p := behind(t)
		// It is older than all of them, so it may have the slot at once.
		require.Equal(t, "w1", p.reassign("moved", "w2", 1).Grant.Worker)
	})
}
