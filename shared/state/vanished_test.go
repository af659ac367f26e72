package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// A session whose record has vanished, because Redis evicted it or somebody
// deleted it, can be ended by nobody. Its slot is free again all the same (I3):
// whoever waits gets it.
func TestAVanishedRecordGivesItsSlotBack(t *testing.T) {
	serves := map[string]func(p *pool){
		"assigned": func(p *pool) { p.acquire("s1") },
		"active":   func(p *pool) { p.serve("s1", "w1") },
	}
	notices := map[string]func(p *pool){
		"heartbeat": func(p *pool) { p.beat("w1", 2) },
		"join": func(p *pool) {
			p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 2, Rejoin: true})
		},
	}
	for was, begin := range serves {
		for by, notice := range notices {
			t.Run(was+", by "+by, func(t *testing.T) {
				p := newPool(t)
				p.join(worker("w1", 1))
				begin(p)
				p.acquire("s2")
				p.vanish("s1")
				notice(p)
				require.Equal(t, []string{"session.assigned s2"}, p.types())
				require.Equal(t, map[string]bool{"s2": true}, p.dump().set["held:w1"])
			})
		}
	}
}

// A worker that serves such a session tells of it anew, as after a failover, and
// the slot stays taken until it ends.
func TestAVanishedRecordOfARunningSessionIsWrittenAnew(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.serve("s1", "w1")
	p.acquire("s2")
	p.vanish("s1")
	require.True(t, p.beat("w1", 2, "s1").Join)
	require.Equal(t, map[string]bool{"s1": true}, p.dump().set["held:w1"])
	p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 3, Rejoin: true, Sessions: []state.Serving{serving("s1", 1)}})
	require.Equal(t, state.Active, p.acquire("s1").Phase)
	require.Equal(t, state.Queued, p.acquire("s2").Phase)
	p.finish("w1", "s1")
	require.Equal(t, state.Assigned, p.acquire("s2").Phase)
}

// Nor does it count for its token for ever.
func TestAVanishedRecordDoesNotUseUpItsToken(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.ask(withToken("s1", "ci", 1, 0))
	require.Equal(t, "token_limit", p.ask(withToken("s2", "ci", 1, 0)).Reason)
	p.vanish("s1")
	require.Equal(t, state.Assigned, p.ask(withToken("s3", "ci", 1, 0)).Phase)
	require.Equal(t, "token_limit", p.ask(withToken("s4", "ci", 1, 0)).Reason)
}

// Nor does it hold up a worker that wants to go, or outlive one that is gone.
func TestAVanishedRecordDoesNotOutliveItsWorker(t *testing.T) {
	for name, end := range map[string]func(p *pool){
		"it leaves": func(p *pool) { require.Zero(p.t, p.leave("w1", state.RetireLifetime, false)) },
		"it has to": func(p *pool) { require.Zero(p.t, p.leave("w1", state.RetireDrain, true)) },
		"it is lost": func(p *pool) {
			p.expire(p.k.Workers(), "w1")
			p.reap(10)
		},
		"it has a next boot": func(p *pool) {
			w := worker("w2", 1)
			w.Endpoint = worker("w1", 1).Endpoint
			p.join(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			p.join(worker("w1", 1))
			p.acquire("s1")
			p.vanish("s1")
			end(p)
			require.NotContains(t, p.fleet(), "w1")
			require.Empty(t, p.dump().set["held:w1"])
		})
	}
}

// vanish takes the record of a session away. The log cannot agree with the
// state after that, so it is not held against it.
func (p *pool) vanish(session string) {
	p.t.Helper()
	require.NoError(p.t, p.do("DEL", p.k.Session(session)).Error())
	p.read()
	p.forget()
}

// A failover lost that a session started. Its slot is nobody else's until its worker has brought it back (I1).
func TestALostStartIsNotDispatchedOver(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.types()
	require.True(t, p.beat("w1", 2, "s1").Join)
	require.Equal(t, state.Queued, p.acquire("s2").Phase)
	require.Equal(t, []string{"worker.suspect w1", "session.queued s2"}, p.types())
	p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 3, Rejoin: true, Sessions: []state.Serving{serving("s1", 1)}})
	require.Equal(t, []string{"worker.ready w1", "session.started s1"}, p.types())
	p.finish("w1", "s1")
	require.Equal(t, []string{"session.ended s1", "session.assigned s2"}, p.types())
}

// Nor is one that has ended since left to its start lease.
func TestAnEndWhoseStartIsLostAsksForAJoin(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.acquire("s1") // and started, which was lost
	p.types()
	end := state.End{Session: "s1", Reason: "client_closed", Counts: state.Counts{BytesUp: 7}}
	reply, err := p.Heartbeat(ctx, state.Beat{Worker: "w1", Number: 2, State: state.Ready, Missing: "worker_closed", Ended: []state.End{end}})
	require.NoError(t, err)
	require.True(t, reply.Join)
	p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 3, Rejoin: true, Untold: []state.Untold{{Serving: serving("s1", 1), How: end}}})
	require.Equal(t, []string{"worker.suspect w1", "worker.ready w1", "session.started s1", "session.ended s1"}, p.types())
	require.EqualValues(t, 7, p.only(event.SessionEnded).Session.BytesUp)
}
