package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func TestStart(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.join(worker("w2", 1))
	p.acquire("s1") // at w1: the first of equals
	for _, c := range []struct {
		name, session, worker string
		attempt               int
		nonce                 string
		want                  state.StartAnswer
	}{
		{"a session that never was", "nobody", "w1", 1, "a", state.StartUnknown},
		{"another worker's", "s1", "w2", 1, "a", state.StartElsewhere},
		{"another attempt", "s1", "w1", 2, "a", state.StartElsewhere},
		{"the right one", "s1", "w1", 1, "a", state.StartOK},
		{"the same call again", "s1", "w1", 1, "a", state.StartOK},
		{"a second connection", "s1", "w1", 1, "b", state.StartUsed},
		{"a second connection elsewhere", "s1", "w2", 1, "b", state.StartElsewhere},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, p.start(c.session, c.worker, c.attempt, c.nonce))
		})
	}
	p.acquire("s2")
	p.acquire("s3")
	require.Equal(t, state.StartQueued, p.start("s3", "w1", 1))
	p.finish("w1", "s1")
	require.Equal(t, state.StartOver, p.start("s1", "w1", 1, "a"), "over is over, also for the connection that had it")
	p.cancel("s2")
	require.Equal(t, state.StartOver, p.start("s2", "w2", 1))

	p.read()
	started := 0
	for _, e := range p.log {
		if e.Type == event.SessionStarted {
			require.Equal(t, "s1:session.started:1", e.ID)
			require.Equal(t, "w1", e.Session.Worker)
			started++
		}
	}
	require.Equal(t, 1, started)
}

func TestStartAfterTheLeaseButBeforeTheReaper(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.acquire("s1")
	p.expire(p.k.Leases(), "s1")
	require.Equal(t, state.StartOK, p.start("s1", "w1", 1))
	ended, _ := p.reap(10)
	require.Zero(t, ended)
}

func TestFinish(t *testing.T) {
	for _, c := range []struct {
		name string
		by   state.Side
		who  string
		end  state.End
		ends bool
	}{
		{"its worker", state.SideWorker, "w1", state.End{Session: "s1", Reason: "client_closed"}, true},
		{"its proxy", state.SideProxy, "p1", state.End{Session: "s1", Reason: "worker_lost"}, true},
		{"another worker", state.SideWorker, "w2", state.End{Session: "s1", Reason: "client_closed"}, false},
		{"another proxy", state.SideProxy, "p2", state.End{Session: "s1", Reason: "client_closed"}, false},
		{"an assigned session", state.SideWorker, "w1", state.End{Session: "s2", Reason: "client_closed"}, false},
		{"a waiting session", state.SideProxy, "p1", state.End{Session: "s3", Reason: "client_closed"}, false},
		{"a session that never was", state.SideWorker, "w1", state.End{Session: "nobody", Reason: "client_closed"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			p.join(worker("w1", 2))
			p.serve("s1", "w1")
			p.acquire("s2")
			p.acquire("s3")
			p.inbox("p1")
			p.read()
			for range 2 {
				require.NoError(t, p.Finish(ctx, c.by, c.who, c.end))
			}
			if !c.ends {
				require.Empty(t, p.types())
				require.Empty(t, p.inbox("p1"))
				return
			}
			require.Equal(t, []string{"session.ended s1", "session.assigned s3"}, p.types(), "once, and the slot goes on (I4)")
			notices := p.inbox("p1")
			require.Len(t, notices, 1)
			require.True(t, notices[0].Granted)
			require.NotEmpty(t, notices[0].Epoch)
			require.Equal(t, state.Grant{Session: "s3", Worker: "w1", Endpoint: "w1:3131", Attempt: 1, BrowserVersion: "140.0.1", Playwright: "1.65.1"}, notices[0].Grant)

			require.NoError(t, p.Finish(ctx, state.SideProxy, "p1", state.End{Session: "s1", Reason: "killed"}))
			require.Equal(t, c.end.Reason, p.acquire("s1").Reason, "ended is final")
		})
	}
}

func TestFinishManyAtOnce(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.join(worker("w2", 1))
	for _, s := range []string{"s1", "s2", "s3"} {
		g := p.acquire(s).Grant
		p.start(s, g.Worker, g.Attempt)
	}
	for _, s := range []string{"s4", "s5", "s6", "s7"} {
		p.acquire(s)
	}
	require.NoError(t, p.Finish(ctx, state.SideProxy, "p1",
		state.End{Session: "s1", Reason: "client_closed"}, state.End{Session: "s2", Reason: "client_closed"}, state.End{Session: "s3", Reason: "client_closed"}))
	for _, s := range []string{"s4", "s5", "s6"} {
		require.Equal(t, state.Assigned, p.acquire(s).Phase)
	}
	require.Equal(t, state.Queued, p.acquire("s7").Phase)
	require.NoError(t, p.Finish(ctx, state.SideProxy, "p1"), "nothing to report is no error")
}

func TestCancel(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.serve("active", "w1")
	p.acquire("assigned")
	p.acquire("queued")
	p.acquire("waiting")
	p.read()

	require.Equal(t, state.Queued, p.cancel("queued"))
	require.Equal(t, []string{"session.rejected queued"}, p.types())
	require.Equal(t, state.Assigned, p.cancel("assigned"))
	require.Equal(t, []string{"session.ended assigned", "session.assigned waiting"}, p.types())
	e := p.only(event.SessionEnded)
	require.False(t, e.Session.Started)
	require.Equal(t, event.ReasonCancelled, e.Session.Reason)
	require.Equal(t, "w1", e.Session.Worker)
	require.Equal(t, state.Active, p.cancel("active"))
	require.Equal(t, []string{"session.ended active"}, p.types())
	require.Equal(t, state.Ended, p.cancel("active"))
	require.Equal(t, state.Ended, p.cancel("queued"))
	require.Equal(t, state.Unknown, p.cancel("nobody"))
	require.Empty(t, p.types())
	require.Equal(t, state.Rejected, p.acquire("queued").Phase)
}

func TestCancelOfOneThatCameBackToTheQueueIsAnEnd(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.acquire("s1")
	require.Equal(t, state.Queued, p.reassign("s1", "w1", 1).Phase)
	require.Equal(t, state.Queued, p.cancel("s1"))
	e := p.only(event.SessionEnded)
	require.EqualValues(t, 1, e.Session.Attempt)
	require.Empty(t, e.Session.Worker)
	require.Equal(t, 1, p.told["s1"], "what was assigned gets exactly one end (I2)")
}

func TestReassign(t *testing.T) {
	t.Run("to another worker", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		p.join(worker("w2", 1))
		p.acquire("s1")
		for range 2 {
			st := p.reassign("s1", "w1", 1)
			require.Equal(t, state.Assigned, st.Phase)
			require.Equal(t, state.Grant{Session: "s1", Worker: "w2", Endpoint: "w2:3131", Attempt: 2, BrowserVersion: "140.0.1", Playwright: "1.65.1"}, st.Grant)
		}
		e := p.only(event.WorkerSuspect)
		require.Equal(t, "w1", e.Worker.ID)
		require.Equal(t, "dial_failed", e.Worker.Reason)
		require.Equal(t, state.StartElsewhere, p.start("s1", "w1", 1), "the old grant is worth nothing")
		require.Equal(t, state.StartOK, p.start("s1", "w2", 2))
		require.Equal(t, state.Active, p.reassign("s1", "w2", 2).Phase, "what has started is not taken away")
	})
	t.Run("to its old place in the queue", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		p.acquire("s1")
		p.acquire("s2")
		st := p.reassign("s1", "w1", 1)
		require.Equal(t, state.Queued, st.Phase)
		require.Equal(t, []int{1, 2}, []int{st.Place, st.Waiting})
		e := p.only(event.SessionQueued)
		require.Equal(t, "s1:session.queued:1", e.ID)
		require.Equal(t, "1.65", e.Session.Playwright, "it asks for what it asked for at first")

		require.Equal(t, state.Suspect, p.fleet()["w1"].State)
		require.Equal(t, state.Queued, p.acquire("s3").Phase, "a suspect worker gets nothing")
		p.read()
		require.Equal(t, state.Ready, p.beat("w1", 2).State)
		require.Equal(t, []string{"worker.ready w1", "session.assigned s1"}, p.types(), "before s2, which came later")
		require.Equal(t, 2, p.inbox("p1")[0].Grant.Attempt)
	})
	t.Run("a second worker fails too", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		p.join(worker("w2", 1))
		p.acquire("s1")
		p.reassign("s1", "w1", 1)
		require.Equal(t, state.Queued, p.reassign("s1", "w2", 2).Phase)
		p.join(worker("w3", 1))
		require.Equal(t, 3, p.acquire("s1").Grant.Attempt)
	})
	t.Run("of an attempt that is over", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		p.join(worker("w2", 1))
		p.acquire("s1")
		p.reassign("s1", "w1", 1)
		p.read()
		require.Equal(t, "w2", p.reassign("s1", "w2", 1).Grant.Worker)
		require.Empty(t, p.types())
	})
	t.Run("of what is not known or over", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		require.Equal(t, state.Unknown, p.reassign("s1", "w1", 1).Phase)
		p.acquire("s2")
		p.cancel("s2")
		require.Equal(t, state.Ended, p.reassign("s2", "w1", 1).Phase)
		require.Equal(t, state.Ready, p.fleet()["w1"].State)
	})
	t.Run("from a worker that has gone", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		p.acquire("s1")
		p.expire(p.k.Workers(), "w1")
		p.reap(10)
		require.Equal(t, state.Queued, p.reassign("s1", "w1", 1).Phase)
		p.check()
		p.join(worker("w2", 1))
		require.Equal(t, "w2", p.acquire("s1").Grant.Worker)
	})
	t.Run("from one that retires", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		p.acquire("s1")
		p.retire("w1", state.RetireDrain)
		require.Equal(t, state.Queued, p.reassign("s1", "w1", 1).Phase)
		require.Equal(t, state.Retiring, p.fleet()["w1"].State, "retiring is for good")
	})
}

// fleet reads the workers as a proxy does.
func (p *pool) fleet() map[string]state.Member {
	p.t.Helper()
	members, _, err := p.Fleet(ctx)
	require.NoError(p.t, err)
	return members
}
