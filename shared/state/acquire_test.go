package state_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func TestAcquireGivesASlotAtOnce(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	r := request("s1")
	r.Name, r.Labels, r.Token, r.Client = "checkout", map[string]string{"team": "shop"}, "ci", "192.0.2.1"
	st := p.ask(r)
	want := state.Grant{Session: "s1", Worker: "w1", Endpoint: "w1:3131", Attempt: 1, BrowserVersion: "140.0.1", Playwright: "1.65.1"}
	require.Equal(t, state.Assigned, st.Phase)
	require.Equal(t, want, st.Grant)
	require.NotEmpty(t, st.Epoch)
	require.EqualValues(t, 1, st.Rev)

	e := p.only(event.SessionAssigned)
	require.Equal(t, "s1:session.assigned:1", e.ID)
	require.Equal(t, event.Session{ID: "s1", Proxy: "p1", Attempt: 1, Worker: "w1", Browser: "chromium", BrowserVersion: "140.0.1",
		Playwright: "1.65.1", Name: "checkout", Labels: map[string]string{"team": "shop"}, Token: "ci", Client: "192.0.2.1"}, *e.Session)
}

func TestAcquireQueuesWhenNothingIsFree(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.acquire("s1")
	st := p.acquire("s2")
	require.Equal(t, state.Queued, st.Phase)
	require.Equal(t, []int{1, 1}, []int{st.Place, st.Waiting})

	other := request("s3")
	other.Demand = chromium("")
	require.Equal(t, []int{1, 2}, func() []int { st := p.ask(other); return []int{st.Place, st.Waiting} }(), "first of its class, second of the pool")

	e := p.only(event.SessionQueued)
	require.Equal(t, "s3:session.queued:0", e.ID)
	require.EqualValues(t, 3, e.Session.Seq)
	require.NotEmpty(t, e.Session.Class)
	require.Empty(t, e.Session.Worker)
}

func TestAcquireAgainTellsWhereTheSessionIs(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	first := p.acquire("s1")
	require.Equal(t, first, p.acquire("s1"))
	second := p.acquire("s2")
	require.Equal(t, second, p.acquire("s2"))
	p.start("s1", "w1", 1)
	require.Equal(t, state.Active, p.acquire("s1").Phase)
	p.finish("w1", "s1")
	st := p.acquire("s1")
	require.Equal(t, state.Ended, st.Phase)
	require.Equal(t, "client_closed", st.Reason)
	require.Equal(t, state.Assigned, p.acquire("s2").Phase, "by the slot of s1")
	p.cancel("s2")
	require.Len(t, p.read(), 8, "pool.reset, worker.joined, queued s2, and assigned and ended twice, started once")
}

func TestAcquireFindsTheTombstoneOfAnEarlierCancel(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	require.Equal(t, state.Unknown, p.cancel("s1"))
	p.read()
	st := p.acquire("s1")
	require.Equal(t, state.Rejected, st.Phase)
	require.Equal(t, "cancelled", st.Reason)
	require.Empty(t, p.read(), "a session that never was has no events")
	require.Equal(t, state.Ended, p.cancel("s1"))
}

func TestAcquireRefuses(t *testing.T) {
	// grown ends the time in which acquire queues instead of refusing.
	grown := func(p *pool) {
		p.proxyBeat("p1")
		p.head("epoch", "1-0")
	}
	firefox := worker("f1", 1)
	firefox.Browser, firefox.Playwright = "firefox", "1.62.0"
	old := worker("w2", 1)
	old.Playwright = "1.64.3"
	labelled := worker("w3", 1)
	labelled.Labels = map[string]string{"gpu": "1"}

	t.Run("no_match", func(t *testing.T) {
		p := newPool(t)
		grown(p)
		p.join(firefox)
		p.join(old)
		p.join(labelled)
		r := request("s1")
		r.Demand = chromium("1.63")
		st := p.ask(r)
		require.Equal(t, state.Refused, st.Phase)
		require.Equal(t, "no_match", st.Reason)
		require.ElementsMatch(t, []state.Flavour{old.Flavour(), labelled.Flavour()}, st.Have, "what there is of that browser")

		r.Session, r.Demand = "s2", chromium("1.64")
		r.Demand.Require = map[string]string{"gpu": "1"}
		require.Equal(t, "no_match", p.ask(r).Reason)

		r.Session, r.Demand = "s3", chromium("1.64")
		r.Demand.Isolation = "browser"
		require.Equal(t, "no_match", p.ask(r).Reason)
		for _, e := range p.log {
			require.Nil(t, e.Session, "it leaves nothing behind (I11)")
		}
		require.Empty(t, p.dump().under("session:"))
	})
	t.Run("no_match, since its flavour has faded", func(t *testing.T) {
		p := newPool(t)
		grown(p)
		w1 := worker("w1", 1)
		p.join(w1)
		p.join(old)
		p.acquire("s1")
		p.cancel("s1")
		p.leave("w1", state.RetireDrain, false)
		require.Equal(t, state.Queued, p.acquire("s2").Phase, "its worker may come back")
		p.expire(p.k.Fading(), w1.Flavour().Key())
		p.reap(10)
		require.Equal(t, "no_match", p.acquire("s3").Reason)
		p.cancel("s2")
	})
	t.Run("no worker of that browser at all: it waits", func(t *testing.T) {
		p := newPool(t)
		grown(p)
		p.join(firefox)
		require.Equal(t, state.Queued, p.acquire("s1").Phase)
	})
	t.Run("the last worker that fits has just left: it waits", func(t *testing.T) {
		p := newPool(t)
		grown(p)
		p.join(worker("w1", 1))
		p.join(old)
		p.leave("w1", state.RetireDrain, false)
		require.Equal(t, state.Queued, p.acquire("s1").Phase)
	})
	t.Run("it has left for long: refused", func(t *testing.T) {
		p := newPool(t)
		grown(p)
		w := worker("w1", 1)
		p.join(w)
		p.join(old)
		p.leave("w1", state.RetireDrain, false)
		p.expire(p.k.Fading(), w.Flavour().Key())
		p.reap(10)
		st := p.acquire("s1")
		require.Equal(t, "no_match", st.Reason)
		require.Equal(t, []state.Flavour{old.Flavour()}, st.Have)
	})
	t.Run("the data set is young: it waits", func(t *testing.T) {
		p := newPool(t)
		p.join(old)
		require.Equal(t, state.Queued, p.acquire("s1").Phase)
	})
	t.Run("too_many_classes", func(t *testing.T) {
		p := newPool(t, func(o *state.Options) { o.MaxClasses = 2 })
		for i, version := range []string{"1.1", "1.2", "1.3"} {
			r := request(fmt.Sprint("s", i))
			r.Demand = chromium(version)
			st := p.ask(r)
			if i < 2 {
				require.Equal(t, state.Queued, st.Phase)
				continue
			}
			require.Equal(t, state.Refused, st.Phase)
			require.Equal(t, "too_many_classes", st.Reason)
			r.Session, r.Demand = "s9", chromium("1.1")
			require.Equal(t, state.Queued, p.ask(r).Phase, "a class that is there takes more")
		}
	})
	t.Run("queue_full", func(t *testing.T) {
		p := newPool(t)
		r := request("s1")
		r.QueueLimit = 1
		require.Equal(t, state.Queued, p.ask(r).Phase)
		r.Session = "s2"
		for range 2 {
			st := p.ask(r)
			require.Equal(t, state.Rejected, st.Phase)
			require.Equal(t, "queue_full", st.Reason)
		}
		e := p.only(event.SessionRejected)
		require.Equal(t, event.ReasonQueueFull, e.Session.Reason)
		require.Equal(t, 1, p.told["s2"])
		p.join(worker("w1", 2))
		r.Session = "s3"
		require.Equal(t, state.Assigned, p.ask(r).Phase, "the limit is of those who wait")
	})
	t.Run("not those who waited before a reset", func(t *testing.T) {
		p := newPool(t, func(o *state.Options) { o.MaxClasses = 1 })
		grown(p)
		p.join(old)
		for i, version := range []string{"1.1", "1.2"} {
			r := request(fmt.Sprint("s", i))
			r.Demand, r.QueueLimit, r.Again = chromium(version), 0, true
			require.Equal(t, state.Queued, p.ask(r).Phase)
		}
	})
}

func TestAcquireTakesTheLeastLoaded(t *testing.T) {
	p := newPool(t)
	anyVersion := func(id string) state.Request { r := request(id); r.Demand = chromium(""); return r }
	p.join(worker("w1", 3))
	p.join(worker("w2", 3))
	newer := worker("w3", 3)
	newer.Playwright = "1.66.0"
	p.join(newer)
	loads := map[string]int{"w1": 0, "w2": 0, "w3": 0}
	for i := range 9 {
		st := p.ask(anyVersion(fmt.Sprint("s", i)))
		for id, n := range loads {
			require.LessOrEqual(t, loads[st.Grant.Worker], n, "%s has %d and was passed over (I5)", id, n)
		}
		loads[st.Grant.Worker]++
		p.check()
	}
	require.Equal(t, map[string]int{"w1": 3, "w2": 3, "w3": 3}, loads)
	require.Equal(t, state.Queued, p.ask(anyVersion("s9")).Phase)
}

func TestASlotGoesToTheOldestOverAllClasses(t *testing.T) {
	p := newPool(t)
	ask := func(id, version string) {
		r := request(id)
		r.Demand = chromium(version)
		require.Equal(t, state.Queued, p.ask(r).Phase)
	}
	ask("s1", "1.65")
	ask("s2", "")
	ask("s3", "1.64")
	ask("s4", "1.65")
	ask("s5", "")
	p.read()
	p.join(worker("w1", 3))
	require.Equal(t, []string{"worker.joined w1", "session.assigned s1", "session.assigned s2", "session.assigned s4"}, p.types())
	old := worker("w2", 1)
	old.Playwright = "1.64.0"
	p.join(old)
	require.Equal(t, []string{"worker.joined w2", "session.assigned s3"}, p.types(), "s5 came later, although anything fits it")
	p.cancel("s1")
	require.Equal(t, []string{"session.ended s1", "session.assigned s5"}, p.types())
}

func TestAcquirePassesOverAWorkerWithoutALease(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.expire(p.k.Workers(), "w1")
	require.Equal(t, state.Queued, p.acquire("s1").Phase)
	p.beat("w1", 2)
	require.Equal(t, state.Assigned, p.acquire("s1").Phase, "it came back with its heartbeat (I4)")
}

func TestAFreedSlotOfAWorkerWithoutALeaseGoesToNobody(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.serve("s1", "w1")
	p.acquire("s2")
	p.expire(p.k.Workers(), "w1")
	require.NoError(t, p.Finish(ctx, state.SideProxy, "p1", state.End{Session: "s1", Reason: "worker_lost"}))
	require.Equal(t, state.Queued, p.acquire("s2").Phase)
	p.beat("w1", 2)
	require.Equal(t, state.Assigned, p.acquire("s2").Phase, "it came back (I4)")
}

func TestLifetimeBoundsCapacity(t *testing.T) {
	p := newPool(t)
	w := worker("w1", 2)
	w.Lifetime = 3
	p.join(w)
	p.serve("s1", "w1")
	p.serve("s2", "w1")
	p.finish("w1", "s1")
	p.serve("s3", "w1")
	p.finish("w1", "s2")
	require.Equal(t, state.Queued, p.acquire("s4").Phase, "three were served or are")
	p.check()
}

func TestAGiftThatDidNotStartDoesNotCountAgainstTheLifetime(t *testing.T) {
	p := newPool(t)
	w := worker("w1", 1)
	w.Lifetime = 1
	p.join(w)
	p.acquire("s1")
	p.cancel("s1")
	require.Equal(t, state.Assigned, p.acquire("s2").Phase)
}

func TestTheEndTellsWhatWentThroughASession(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.serve("s1", "w1")
	require.NoError(t, p.Finish(ctx, state.SideWorker, "w1", state.End{Session: "s1", Reason: "client_closed", Ago: time.Second,
		Counts: state.Counts{BytesUp: 1 << 50, BytesDown: 2, MessagesUp: 3, MessagesDown: 4}}))
	e := p.only(event.SessionEnded)
	require.Equal(t, e.At.Add(-time.Second), e.Happened)
	require.True(t, e.Session.Started)
	require.Equal(t, []int64{1 << 50, 2, 3, 4}, []int64{e.Session.BytesUp, e.Session.BytesDown, e.Session.MessagesUp, e.Session.MessagesDown})
}

// The least-loaded worker is found whatever P:least says that is not too much: it
// is too low where a flavour's workers have been given sessions, and names a flavour
// whose free workers Redis has lost.
func TestLeastLoadedOfManyFlavours(t *testing.T) {
	p := newPool(t)
	p.forget()
	load := map[string]int{} // by worker
	for i := range 12 {
		w := worker(fmt.Sprint("w", i), 30)
		w.Playwright = fmt.Sprintf("1.%d.0", 40+i)
		p.join(w)
	}
	r := request("")
	r.Demand = chromium("")
	ask := func(id string) {
		r.Session = id
		st := p.ask(r)
		require.Equal(t, state.Assigned, st.Phase)
		least := 1000
		for i := range 12 {
			least = min(least, load[fmt.Sprint("w", i)])
		}
		require.Equal(t, least, load[st.Grant.Worker], "%s of %v", st.Grant.Worker, load)
		load[st.Grant.Worker]++
	}
	for i := range 9 { // nobody looks at all flavours meanwhile
		one := request(fmt.Sprint("one", i))
		one.Demand = chromium(fmt.Sprintf("1.%d", 40+i))
		load[p.ask(one).Grant.Worker]++
	}
	for i := range 100 {
		ask(fmt.Sprint("a", i))
		if i%7 == 6 { // somewhere one ends
			id := fmt.Sprint("a", i-3)
			got, _, err := p.Record(ctx, id)
			require.NoError(t, err)
			p.cancel(id)
			load[got.Worker]--
		}
	}
	lost := worker("w0", 30)
	lost.Playwright = "1.40.0"
	require.NoError(t, p.do("ZADD", p.k.Least(), "0", lost.Flavour().Key()).Error())
	require.NoError(t, p.do("DEL", p.k.Free(lost.Flavour().Key())).Error())
	load["w0"] = 1000
	ask("b")
	require.ErrorIs(t, p.do("ZSCORE", p.k.Least(), lost.Flavour().Key()).Error(), rueidis.Nil)
}
