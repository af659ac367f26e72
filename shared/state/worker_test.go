package state_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func serving(session string, attempt int) state.Serving {
	return state.Serving{Session: session, Proxy: "p1", Attempt: attempt, Age: time.Minute, Nonce: "nonce-" + session, Name: "checkout",
		Labels: map[string]string{"team": "shop"}, Token: "ci", Client: "192.0.2.1"}
}

func TestJoin(t *testing.T) {
	p := newPool(t)
	w := worker("w1", 5)
	w.Lifetime, w.Labels, w.Isolation = 50, map[string]string{"gpu": "1"}, []string{"context", "browser"}
	for range 2 {
		r := p.join(w)
		require.Empty(t, r.Ended)
		require.Empty(t, r.Replaced)
		require.EqualValues(t, 1, r.Rev)
	}
	require.Equal(t, map[string]state.Member{"w1": {Worker: w, State: state.Ready, FlavourKey: w.Flavour().Key()}}, p.fleet())
	e := p.only(event.WorkerJoined)
	require.Equal(t, event.Worker{ID: "w1", Endpoint: "w1:3131", Flavour: w.Flavour().Key(), Browser: "chromium", BrowserVersion: "140.0.1",
		Playwright: "1.65.1", Slots: 5, Lifetime: 50, Labels: w.Labels, Isolation: w.Isolation, Number: 1}, *e.Worker)
	require.Len(t, p.log, 2)
}

func TestJoinInAnotherStateThanReady(t *testing.T) {
	for _, s := range []state.WorkerState{state.Unhealthy, state.Retiring} {
		p := newPool(t)
		p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: s, Number: 3})
		require.Equal(t, event.WorkerState(s), p.only(event.WorkerJoined).Worker.State)
		require.Equal(t, state.Queued, p.acquire("s1").Phase)
		if s == state.Unhealthy {
			require.Equal(t, state.Ready, p.beat("w1", 4).State)
			require.Equal(t, state.Assigned, p.acquire("s1").Phase)
		}
	}
}

func TestJoinServesThoseWhoWait(t *testing.T) {
	p := newPool(t)
	for i := range 3 {
		p.acquire(fmt.Sprint("s", i))
	}
	p.join(worker("w1", 2))
	require.Equal(t, []string{"pool.reset " + p.k.Name(), "session.queued s0", "session.queued s1", "session.queued s2",
		"worker.joined w1", "session.assigned s0", "session.assigned s1"}, p.types())
	require.Len(t, p.inbox("p1"), 2)
}

func TestRejoinAfterRedisLostItsData(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.serve("s1", "w1")
	before := p.proxyBeat("p1").Epoch
	p.wipe()

	hb := p.beat("w1", 2, "s1")
	require.True(t, hb.Join)
	require.NotEqual(t, before, hb.Epoch)
	r := state.JoinRequest{Worker: worker("w1", 2), State: state.Ready, Number: 2, Served: 7, Rejoin: true, Sessions: []state.Serving{serving("s1", 1)}}
	for range 2 {
		require.Empty(t, p.joinAs(r).Ended)
	}
	require.Equal(t, []string{"pool.reset " + p.k.Name(), "worker.joined w1", "session.started s1"}, p.types())
	e := p.only(event.SessionStarted)
	require.Equal(t, event.Session{ID: "s1", Proxy: "p1", Attempt: 1, Worker: "w1", Browser: "chromium", BrowserVersion: "140.0.1", Playwright: "1.65.1",
		Name: "checkout", Labels: map[string]string{"team": "shop"}, Token: "ci", Client: "192.0.2.1", Started: e.Session.Started}, *e.Session)
	require.Equal(t, time.Minute, e.At.Sub(e.Happened))

	require.EqualValues(t, 7, p.dump().zset["served"]["w1"])
	p.acquire("s2")
	require.Equal(t, state.Queued, p.acquire("s3").Phase, "s1 holds its slot (I1)")
	require.Equal(t, state.StartOK, p.start("s1", "w1", 1), "it is the same connection")
	p.finish("w1", "s1")
	require.GreaterOrEqual(t, p.only(event.SessionEnded).Session.Active, time.Minute)
	require.Equal(t, state.Assigned, p.acquire("s3").Phase)
}

// A worker had one session after the other while Redis was away; more than it has slots are untold.
func TestRejoinWithEndsThatAreUntold(t *testing.T) { // I1, I2
	untold := func(session string, age time.Duration) state.Untold {
		u := state.Untold{Serving: serving(session, 1), How: state.End{Session: session, Reason: "client_closed", Ago: time.Second, Counts: state.Counts{BytesUp: 7}}}
		u.Age = age
		return u
	}
	r := state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 2, Rejoin: true,
		Sessions: []state.Serving{serving("s3", 1)}, Untold: []state.Untold{untold("s2", 3*time.Minute), untold("s1", 4*time.Minute)}}
	for name, c := range map[string]struct {
		lose func(p *pool)
		want []string
	}{
		"all is lost": {(*pool).wipe, []string{
			"worker.joined w1", "session.started s1", "session.ended s1", "session.started s2", "session.ended s2", "session.started s3"}},
		"the last is lost": {func(*pool) {}, []string{
			"session.ended s1", "session.started s2", "session.ended s2", "session.started s3"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			p.join(worker("w1", 1))
			p.serve("s1", "w1")
			p.types()
			c.lose(p)
			for range 2 {
				p.joinAs(r)
			}
			got := p.types()
			require.Equal(t, c.want, got[len(got)-len(c.want):])
			require.Len(t, got, len(c.want)+map[bool]int{true: 1}[name == "all is lost"], "and before it pool.reset")
			s := p.only(event.SessionEnded).Session
			require.Equal(t, "client_closed 7", fmt.Sprint(s.Reason, " ", s.BytesUp))
			require.Greater(t, s.Active, 2*time.Minute)
			require.Equal(t, map[string]bool{"s3": true}, p.dump().set["held:w1"])
		})
	}
}

func TestRejoinAfterAFailoverLostTheLastWrites(t *testing.T) {
	// What the log remembers of the session when its worker, which has it as attempt 2, joins.
	for _, c := range []struct {
		name   string
		before func(p *pool)
		kept   bool
	}{
		{"queued", func(p *pool) { p.acquire("s1"); p.reassign("s1", "w2", 1) }, true},
		{"assigned to another worker", func(p *pool) { p.acquire("s1") }, true},
		{"assigned to it", func(p *pool) { p.acquire("s1"); p.reassign("s1", "w2", 1); p.beat("w1", 2) }, true},
		{"given anew to another worker", func(p *pool) { p.acquire("s1"); p.reassign("s1", "w2", 1); p.beat("w2", 2) }, true},
		{"given to yet another", func(p *pool) {
			p.acquire("s1")
			p.reassign("s1", "w2", 1)
			p.beat("w2", 2)
			p.reassign("s1", "w2", 2)
			p.beat("w2", 3)
		}, false},
		{"started elsewhere", func(p *pool) { p.acquire("s1"); p.start("s1", "w2", 1) }, false},
		{"ended", func(p *pool) { p.acquire("s1"); p.cancel("s1") }, false},
		{"cancelled before it was known", func(p *pool) { p.cancel("s1") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			w1 := worker("w1", 1)
			p.joinAs(state.JoinRequest{Worker: w1, State: state.Unhealthy, Number: 1})
			p.join(worker("w2", 1))
			c.before(p)
			if c.kept {
				require.True(t, p.beatAs(state.Beat{Worker: "w1", Number: 6, State: state.Unhealthy, Missing: "browser_crashed", Serving: []string{"s1"}}).Join)
			}
			r := p.joinAs(state.JoinRequest{Worker: w1, State: state.Ready, Number: 7, Served: 1, Rejoin: true, Sessions: []state.Serving{serving("s1", 2)}})
			p.check()
			s := p.dump().hash["session:s1"]
			if !c.kept {
				require.Equal(t, []string{"s1"}, r.Ended)
				return
			}
			require.Empty(t, r.Ended)
			require.Equal(t, []string{"active", "w1", "2"}, []string{s["state"], s["worker"], s["attempt"]})
			p.beat("w2", 9)
			require.Equal(t, "w2", p.acquire("s2").Grant.Worker, "it is free")
			p.finish("w1", "s1")
			p.read()
			require.Equal(t, 1, p.told["s1"], "one end (I2)")
		})
	}
}

func TestRejoinWhenTheReplyOfAStartWasLost(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.acquire("s1")
	p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: 2, Rejoin: true, Served: 1, Sessions: []state.Serving{serving("s1", 1)}})
	require.Equal(t, state.Active, p.acquire("s1").Phase)
	require.EqualValues(t, 1, p.dump().zset["served"]["w1"])
}

func TestRejoinEndsWhatTheWorkerNoLongerHas(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.serve("s1", "w1")
	p.acquire("s2")
	p.expire(p.k.Workers(), "w1")
	p.reap(10)
	require.Equal(t, state.Active, p.acquire("s1").Phase, "its proxy sees the connection")
	p.joinAs(state.JoinRequest{Worker: worker("w1", 2), State: state.Ready, Number: 2, Rejoin: true, Served: 1})
	require.Equal(t, "worker_closed", p.acquire("s1").Reason)
	require.Equal(t, state.Assigned, p.acquire("s2").Phase, "what did not start may still do so")
	require.EqualValues(t, 2, p.dump().zset["served"]["w1"])
}

func TestJoinOvertakenByAHeartbeat(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.beat("w1", 5)
	p.serve("s1", "w1")
	p.read()
	r := p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: state.Unhealthy, Number: 4, Rejoin: true})
	require.True(t, r.Stale)
	require.EqualValues(t, 5, r.Last)
	require.Empty(t, p.types())
	require.True(t, p.beat("w1", 5).Stale)
}

func TestJoinThatArrivesAfterTheWorkersEnd(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.beat("w1", 5)
	p.expire(p.k.Workers(), "w1")
	p.reap(10)
	join := func(number int64) (last int64) {
		r := p.joinAs(state.JoinRequest{Worker: worker("w1", 1), State: state.Ready, Number: number, Rejoin: true})
		require.Equal(t, r.Last != 0, r.Stale)
		return r.Last
	}
	require.EqualValues(t, 5, join(4))
	require.EqualValues(t, 5, join(5))
	require.Zero(t, join(6), "a lost worker comes back under a new number")
	p.leave("w1", state.RetireDrain, false)
	require.Equal(t, state.FinalNumber, join(7), "one that has left does not")
	require.Equal(t, state.FinalNumber, join(state.FinalNumber), "under no number")
	require.Empty(t, p.fleet())
}

func TestRejoinWithoutAHeartbeatDoesNotClearASuspicion(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.acquire("s1")
	p.reassign("s1", "w1", 1)
	p.join(worker("w1", 1))
	require.Equal(t, state.Suspect, p.fleet()["w1"].State)
	require.Equal(t, state.Ready, p.beat("w1", 2).State)
}

func TestJoinOnTheEndpointOfAnEarlierBoot(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.serve("s1", "w1")
	p.acquire("s2")
	p.acquire("s3")
	p.read()
	boot := worker("w2", 2)
	boot.Endpoint = "w1:3131"
	for range 2 {
		p.join(boot)
	}
	require.Equal(t, []string{"worker.lost w1", "session.ended s1", "worker.joined w2", "session.assigned s3"}, p.types())
	require.Equal(t, event.ReasonWorkerLost, p.only(event.SessionEnded).Session.Reason)
	require.Equal(t, "replaced", p.only(event.WorkerLost).Worker.Reason)

	// The dial of s2 reaches the new boot, whose gate refuses it.
	require.Equal(t, state.StartElsewhere, p.start("s2", "w2", 1))
	require.Equal(t, "w2", p.reassign("s2", "w1", 1).Grant.Worker)

	require.True(t, p.beat("w1", 2).Join)
	r := p.joinAs(state.JoinRequest{Worker: worker("w1", 2), State: state.Ready, Number: 2, Rejoin: true})
	require.Equal(t, "w2", r.Replaced)
	require.NotContains(t, p.fleet(), "w1")

	p.expire(p.k.Workers(), "w2")
	require.Empty(t, p.joinAs(state.JoinRequest{Worker: worker("w1", 2), State: state.Ready, Number: 2, Rejoin: true}).Replaced,
		"a boot without a lease keeps nobody out")
}

func TestANewBootOnAnotherEndpointLeavesTheOldSessionsToTheirProxy(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	p.join(worker("w1", 1))
	p.serve("s1", "w1")
	p.expire(p.k.Workers(), "w1")
	p.reap(10)
	p.join(worker("w2", 1))
	require.Equal(t, state.Active, p.acquire("s1").Phase)
	p.proxyBeat("p1", state.End{Session: "s1", Reason: "worker_lost"})
	require.Equal(t, "worker_lost", p.acquire("s1").Reason)
}

func TestFlavourLimit(t *testing.T) {
	p := newPool(t, func(o *state.Options) { o.MaxFlavours = 2 })
	with := func(id, version string) state.Worker { w := worker(id, 1); w.Playwright = version; return w }
	p.join(with("w1", "1.61.0"))
	p.join(with("w2", "1.62.0"))
	require.Equal(t, 2, p.join(with("w3", "1.63.0")).FlavourLimit)
	require.NotContains(t, p.fleet(), "w3")
	require.Zero(t, p.join(with("w4", "1.62.9")).FlavourLimit)
	p.leave("w1", state.RetireDrain, false)
	require.Zero(t, p.join(with("w3", "1.63.0")).FlavourLimit, "a flavour without workers makes room")
	p.check()
}

func TestHeartbeat(t *testing.T) {
	setup := func(t *testing.T) *pool {
		p := newPool(t)
		p.join(worker("w1", 3))
		p.serve("s1", "w1")
		p.acquire("s2")
		p.read()
		return p
	}
	t.Run("renews the lease", func(t *testing.T) {
		p := setup(t)
		p.expire(p.k.Workers(), "w1")
		require.Equal(t, state.Ready, p.beat("w1", 2, "s1").State)
		ended, _ := p.reap(10)
		require.Zero(t, ended)
		require.Contains(t, p.fleet(), "w1")
		require.Empty(t, p.types())
	})
	t.Run("ends what is missing, but not what is assigned", func(t *testing.T) {
		p := setup(t)
		p.beat("w1", 2)
		require.Equal(t, []string{"session.ended s1"}, p.types())
		require.Equal(t, event.ReasonWorkerClosed, p.only(event.SessionEnded).Session.Reason)
		require.Equal(t, state.Assigned, p.acquire("s2").Phase)
	})
	t.Run("nor what started under its own number", func(t *testing.T) {
		p := setup(t)
		require.Equal(t, state.StartOK, p.start("s2", "w1", 1, "n", "2"))
		p.beat("w1", 2, "s1")
		require.Equal(t, state.Active, p.acquire("s2").Phase)
		p.beat("w1", 3, "s1")
		require.Equal(t, state.Ended, p.acquire("s2").Phase)
	})
	t.Run("refuses an old number", func(t *testing.T) {
		p := setup(t)
		p.beat("w1", 4, "s1")
		for _, n := range []int64{1, 3, 4} {
			r := p.beat("w1", n)
			require.True(t, r.Stale)
			require.EqualValues(t, 4, r.Last)
		}
		require.Empty(t, p.types())
	})
	t.Run("names what has ended", func(t *testing.T) {
		p := setup(t)
		p.cancel("s1")
		r := p.beat("w1", 2, "s1")
		require.Equal(t, []string{"s1"}, r.Ended)
		require.False(t, r.Join)
	})
	t.Run("names what is another's", func(t *testing.T) {
		p := setup(t)
		p.join(worker("w2", 1))
		require.Equal(t, []string{"s1"}, p.beat("w2", 2, "s1").Ended)
	})
	t.Run("asks to join for what it does not know", func(t *testing.T) {
		p := setup(t)
		require.True(t, p.beat("w1", 2, "s1", "s9").Join)
		require.True(t, p.beat("w1", 3, "s1", "s2").Join, "s2 did not start, as far as the pool knows")
		require.True(t, p.beat("w9", 1).Join)
	})
	t.Run("marks a crash and ends its sessions", func(t *testing.T) {
		p := setup(t)
		r := p.beatAs(state.Beat{Worker: "w1", Number: 2, State: state.Unhealthy, Missing: "browser_crashed"})
		require.Equal(t, state.Unhealthy, r.State)
		require.Equal(t, []string{"session.ended s1", "worker.unhealthy w1"}, p.types())
		require.Equal(t, "browser_crashed", p.only(event.WorkerUnhealthy).Worker.Reason)
		require.Equal(t, state.Queued, p.acquire("s3").Phase)
		require.Equal(t, state.Queued, p.reassign("s2", "w1", 1).Phase)
		require.Equal(t, state.Unhealthy, p.fleet()["w1"].State, "it stays what it is")
		p.read()
		require.Equal(t, state.Ready, p.beat("w1", 3).State)
		require.Equal(t, []string{"worker.ready w1", "session.assigned s2", "session.assigned s3"}, p.types())
	})
	t.Run("reports what could not be reported before", func(t *testing.T) {
		p := setup(t)
		p.acquire("s3")
		p.acquire("s4")
		p.read()
		p.beatAs(state.Beat{Worker: "w1", Number: 2, State: state.Ready, Missing: "worker_closed",
			Ended: []state.End{{Session: "s1", Reason: "client_closed", Ago: time.Hour, Counts: state.Counts{BytesUp: 9}}}})
		require.Equal(t, []string{"session.ended s1", "session.assigned s4"}, p.types())
		e := p.only(event.SessionEnded)
		require.Equal(t, event.ReasonClientClosed, e.Session.Reason)
		require.EqualValues(t, 9, e.Session.BytesUp)
		require.Zero(t, e.Session.Active, "not less than nothing, whatever the clocks say")
	})
	t.Run("keeps one that retires retiring, and takes its word for it", func(t *testing.T) {
		p := setup(t)
		require.Equal(t, state.Retiring, p.beatAs(state.Beat{Worker: "w1", Number: 2, State: state.Retiring, Serving: []string{"s1"}}).State)
		require.Equal(t, []string{"worker.retiring w1"}, p.types())
		require.Equal(t, state.Retiring, p.beat("w1", 3, "s1").State)
		require.Empty(t, p.types())
	})
}

func TestRetire(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.serve("s1", "w1")
	p.acquire("s2")
	p.read()
	for range 2 {
		r := p.retire("w1", state.RetireLifetime)
		require.True(t, r.Retiring)
		require.Equal(t, 2, r.Held)
	}
	require.Equal(t, []string{"worker.retiring w1"}, p.types())
	require.Equal(t, "lifetime", p.only(event.WorkerRetiring).Worker.Reason)
	require.Equal(t, state.Queued, p.acquire("s3").Phase)
	require.Equal(t, state.StartOK, p.start("s2", "w1", 1), "what was assigned before still starts")
	require.Equal(t, 2, p.leave("w1", state.RetireLifetime, false))
	require.Equal(t, 1, p.leave("w1", state.RetireLifetime, false, state.End{Session: "s1", Reason: "client_closed"}))
	p.finish("w1", "s2")
	require.Zero(t, p.leave("w1", state.RetireLifetime, false))
	require.Equal(t, "lifetime", p.only(event.WorkerLeft).Worker.Reason)
	require.Zero(t, p.leave("w1", state.RetireLifetime, false), "twice is once")
	require.True(t, p.retire("w1", state.RetireLifetime).Unknown)
	require.Empty(t, p.fleet())

	boot := worker("w2", 1)
	boot.Endpoint = "w1:3131"
	p.join(boot)
	require.Equal(t, state.Assigned, p.acquire("s3").Phase)
	require.Empty(t, p.dump().zset["recycling"])
}

func TestLeaveByForce(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.serve("s1", "w1")
	p.acquire("s2")
	p.retire("w1", state.RetireDrain)
	p.read()
	require.Zero(t, p.leave("w1", state.RetireDrain, true))
	require.Equal(t, []string{"session.ended s1", "worker.left w1"}, p.types())
	require.Equal(t, event.ReasonWorkerDrained, p.only(event.SessionEnded).Session.Reason)
	require.Equal(t, state.Queued, p.reassign("s2", "w1", 1).Phase, "what did not start goes to somebody else")
	require.Empty(t, p.dump().under("held:"))
}

func TestWhoMayRetire(t *testing.T) {
	fleet := func(t *testing.T, n int) *pool {
		p := newPool(t)
		for i := range n {
			w := worker(fmt.Sprint("w", i), 2)
			w.Lifetime = 3
			p.join(w)
		}
		return p
	}
	t.Run("one always, others only where four fifths stay", func(t *testing.T) {
		for n, most := range map[int]int{1: 1, 2: 1, 5: 1, 9: 1, 10: 2, 15: 3} {
			p := fleet(t, n)
			allowed := 0
			for i := range n {
				if p.retire(fmt.Sprint("w", i), state.RetireLifetime).Retiring {
					allowed++
				}
			}
			require.Equal(t, most, allowed, "of %d", n)
		}
	})
	t.Run("who has left counts until its endpoint is back", func(t *testing.T) {
		p := fleet(t, 2)
		p.retire("w0", state.RetireLifetime)
		p.leave("w0", state.RetireLifetime, false)
		require.False(t, p.retire("w1", state.RetireMemory).Retiring)
		boot := worker("w2", 2)
		boot.Endpoint = "w0:3131"
		p.join(boot)
		require.True(t, p.retire("w1", state.RetireLifetime).Retiring)
	})
	t.Run("or until a minute has passed", func(t *testing.T) {
		p := fleet(t, 2)
		p.retire("w0", state.RetireLifetime)
		p.leave("w0", state.RetireLifetime, false)
		p.expire(p.k.Recycling(), worker("w0", 1).Flavour().Key()+"|w0:3131")
		require.True(t, p.retire("w1", state.RetireLifetime).Retiring)
	})
	t.Run("who is stopped for good is not waited for", func(t *testing.T) {
		p := fleet(t, 2)
		p.retire("w0", state.RetireDrain)
		p.leave("w0", state.RetireDrain, false)
		require.True(t, p.retire("w1", state.RetireLifetime).Retiring)
	})
	t.Run("who is stopped asks nobody", func(t *testing.T) {
		p := fleet(t, 2)
		p.retire("w0", state.RetireLifetime)
		require.True(t, p.retire("w1", state.RetireDrain).Retiring)
	})
	t.Run("each flavour by itself", func(t *testing.T) {
		p := fleet(t, 8)
		for _, id := range []string{"f0", "f1"} {
			w := worker(id, 1)
			w.Browser = "firefox"
			p.join(w)
		}
		require.True(t, p.retire("w0", state.RetireLifetime).Retiring)
		require.True(t, p.retire("f0", state.RetireLifetime).Retiring)
		require.False(t, p.retire("f1", state.RetireLifetime).Retiring, "else there would be no Firefox")
	})
	t.Run("who may not, serves on for a round, before it lacks slots", func(t *testing.T) {
		p := fleet(t, 2)
		serve := func(ids ...string) {
			for _, id := range ids {
				st := p.acquire(id)
				require.Equal(t, state.Assigned, st.Phase, id)
				p.start(id, st.Grant.Worker, 1)
			}
		}
		for i := range 3 {
			serve(fmt.Sprint("a", i))
			p.finish("w0", fmt.Sprint("a", i))
		}
		require.Contains(t, p.dump().zset["parting"], "w0", "its lifetime is over, and it is the only one")
		serve("b0", "b1")
		require.Equal(t, state.Queued, p.acquire("b2").Phase, "w1 is full")
		r := p.retire("w1", state.RetireLifetime)
		require.False(t, r.Retiring)
		require.Equal(t, 3, r.Lifetime, "it is not over yet")
		p.finish("w1", "b0") // which lets b2 in
		require.Equal(t, 3, p.fleet()["w1"].Lifetime)
		p.finish("w1", "b1")
		require.Equal(t, 5, p.fleet()["w1"].Lifetime)
		serve("b3")
		require.Equal(t, 5, p.retire("w1", state.RetireLifetime).Lifetime)
		require.True(t, p.retire("w0", state.RetireLifetime).Retiring)
		require.NotContains(t, p.dump().zset["parting"], "w0")
	})
	t.Run("whoever has served its lifetime with all slots taken, too", func(t *testing.T) {
		p := fleet(t, 2)
		require.True(t, p.retire("w1", state.RetireLifetime).Retiring)
		p.serve("s1", "w0")
		p.finish("w0", "s1")
		p.serve("s2", "w0")
		p.serve("s3", "w0")
		require.Equal(t, 3, p.fleet()["w0"].Lifetime)
		require.Equal(t, state.Queued, p.acquire("s4").Phase)
		r := p.retire("w0", state.RetireLifetime)
		require.False(t, r.Retiring)
		require.Equal(t, 5, r.Lifetime)
		require.Equal(t, 5, p.fleet()["w0"].Lifetime)
		p.finish("w0", "s2")
		require.Equal(t, "assigned", p.dump().hash["session:s4"]["state"])
	})
	t.Run("without a lifetime, who may not serves on", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w0", 1))
		p.join(worker("w1", 1))
		require.True(t, p.retire("w0", state.RetireMemory).Retiring)
		for range 2 {
			r := p.retire("w1", state.RetireMemory)
			require.False(t, r.Retiring)
			require.Zero(t, r.Lifetime)
		}
		require.Equal(t, state.Assigned, p.acquire("s1").Phase)
		p.leave("w0", state.RetireMemory, false)
		boot := worker("w2", 1)
		boot.Endpoint = "w0:3131"
		p.join(boot)
		require.True(t, p.retire("w1", state.RetireMemory).Retiring)
	})
}

// All workers of a fleet can come near the end of their lifetimes at the same
// time. Only a fifth of them may then have fewer sessions left than slots.
func TestLifetimesDoNotEndTogether(t *testing.T) {
	p := newPool(t)
	const workers, slots = 10, 2
	for i := range workers {
		w := worker(fmt.Sprint("w", i), slots)
		w.Lifetime = 3
		p.join(w)
	}
	for i := range workers * slots {
		id := fmt.Sprint("s", i)
		p.start(id, p.acquire(id).Grant.Worker, 1)
	}
	for i := workers*slots - 1; i >= 0; i-- { // so that those do not part who come first by their names
		id := fmt.Sprint("s", i)
		p.finish(p.dump().hash["session:"+id]["worker"], id)
	}
	parting := p.dump().zset["parting"]
	require.Len(t, parting, workers/5)
	usable := 0
	for id, w := range p.fleet() {
		if _, parts := parting[id]; parts {
			require.Equal(t, 3, w.Lifetime)
		} else {
			require.Equal(t, 5, w.Lifetime)
			usable += slots
		}
	}
	require.Equal(t, workers*slots*4/5, usable)

	for _, id := range []string{"t1", "t2"} {
		require.Contains(t, parting, p.acquire(id).Grant.Worker, "among equals one that parts comes first, so that it gets away")
	}
	require.NotContains(t, parting, p.acquire("t3").Grant.Worker)

	// One that is not ready does not part any more, and gives way.
	gone := slices.Sorted(maps.Keys(parting))[0]
	p.beatAs(state.Beat{Worker: gone, Number: 2, State: state.Unhealthy, Missing: "browser_crashed"})
	require.NotContains(t, p.dump().zset["parting"], gone)
}
