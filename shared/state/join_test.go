package state_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// boot is the next one of w1, at the same endpoint.
func boot(slots int) state.JoinRequest {
	w := worker("w2", slots)
	w.Endpoint = "w1:3131"
	return state.JoinRequest{Worker: w, State: state.Ready, Number: 1}
}

// The sessions that a worker leaves to its next boot end in batches, between
// which others have their turn. Nobody gets a slot of the dead one, and the new
// one serves nobody before the last of them has ended.
func TestJoinEndsWhatTheBootBeforeServedInBatches(t *testing.T) {
	const slots, batch = 35, 10
	p := newPool(t, func(o *state.Options) { o.MaxSkipped = batch })
	p.proxyBeat("p1")
	p.join(worker("w1", slots))
	for i := range slots - 1 {
		p.serve(fmt.Sprint("s", i), "w1")
	}
	p.acquire("assigned")
	p.read()

	for left := slots - 1 - batch; left > 0; left -= batch {
		_, more, err := p.JoinOnce(ctx, boot(slots))
		require.NoError(t, err)
		require.True(t, more)
		p.check()
		require.Len(t, p.dump().set["held:w1"], left+1, "one of them is assigned")
		require.NotContains(t, p.fleet(), "w2")
		id := fmt.Sprint("meanwhile", left)
		require.Equal(t, state.Queued, p.acquire(id).Phase, "a slot of who is gone is nobody's")
		p.cancel(id)
	}
	require.NotContains(t, p.types(), "worker.lost w1")
	_, more, err := p.JoinOnce(ctx, boot(slots))
	require.NoError(t, err)
	require.False(t, more)
	p.read()
	require.Equal(t, "replaced", p.only(event.WorkerLost).Worker.Reason)
	ended := 0
	for _, e := range p.log {
		if e.Type == event.SessionEnded && e.Session.Worker == "w1" {
			require.Equal(t, event.ReasonWorkerLost, e.Session.Reason)
			ended++
		}
	}
	require.Equal(t, slots-1, ended)
	require.Equal(t, "w2", p.reassign("assigned", "w1", 1).Grant.Worker)
}

// A worker that joins is not told that it has to call again, and no call does much.
func TestJoinAfterABootWithManySessions(t *testing.T) {
	const slots = 1000
	p := newPool(t, func(o *state.Options) { o.MaxSkipped = 20 })
	crowd(p, 1, slots, slots, true)
	r := boot(slots)
	r.Worker.Endpoint = "w0:3131"
	log := monitor(t, func() { p.joinAs(r) })
	commands, most := 0, 0
	for _, line := range log {
		if !strings.Contains(line, " lua] ") {
			commands = 0
			continue
		}
		commands++
		most = max(most, commands)
	}
	require.LessOrEqual(t, most, 20*30, "one call does too much")
	require.Empty(t, p.dump().set["held:w0"])
	require.Contains(t, p.fleet(), "w2")
}

// A boot that dies in the middle of it leaves a pool in which another one can go on.
func TestJoinThatIsBrokenOff(t *testing.T) {
	p := newPool(t, func(o *state.Options) { o.MaxSkipped = 1 })
	p.proxyBeat("p1")
	p.join(worker("w1", 3))
	for i := range 3 {
		p.serve(fmt.Sprint("s", i), "w1")
	}
	_, more, err := p.JoinOnce(ctx, boot(3))
	require.NoError(t, err)
	require.True(t, more)
	next := boot(3)
	next.Worker.ID = "w3"
	p.joinAs(next)
	require.Contains(t, p.fleet(), "w3")
	require.Len(t, p.fleet(), 1)
	for i := range 3 {
		require.Equal(t, "worker_lost", p.acquire(fmt.Sprint("s", i)).Reason)
	}
}

// What a boot sent before it was replaced changes nothing, and what it sends after that tells it.
func TestJoinOfTheBootBeforeThatArrivesLate(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.beat("w1", 5)
	p.joinAs(boot(1))
	p.read()
	late := state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 1}
	r := p.joinAs(late)
	require.True(t, r.Stale)
	require.EqualValues(t, 5, r.Last, "it was lost, and has not left")
	late.Number, late.Rejoin = 6, true
	require.Equal(t, "w2", p.joinAs(late).Replaced)
	require.Empty(t, p.types())
	require.Len(t, p.fleet(), 1)
	require.Contains(t, p.fleet(), "w2")
}
