package state_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func TestProxyHeartbeat(t *testing.T) {
	p := newPool(t)
	r := p.proxyBeat("p1")
	require.True(t, r.New)
	require.InDelta(t, 15*time.Second, r.Next, float64(time.Second), "its own lease is the first deadline")
	require.False(t, p.proxyBeat("p1").New)

	p.join(worker("w1", 1))
	p.acquire("s1")
	require.InDelta(t, 10*time.Second, p.proxyBeat("p1").Next, float64(time.Second), "then the start lease")
	p.start("s1", "w1", 1)
	p.acquire("s2")
	p.read()
	p.proxyBeat("p1", state.End{Session: "s1", Reason: "worker_lost", Ago: time.Second})
	require.Equal(t, []string{"session.ended s1", "session.assigned s2"}, p.types())

	p.expire(p.k.Proxies(), "p1")
	require.True(t, p.proxyBeat("p1").New, "it was away for longer than its lease, although nobody has looked")
	require.False(t, p.proxyBeat("p1").New)
}

// A proxy that was taken for dead is told so until it has heard it, whatever
// reply is lost, and then no more.
func TestProxyIsToldUntilItHears(t *testing.T) {
	p := newPool(t)
	beat := func(heeded string) state.ProxyReply {
		r, err := p.ProxyHeartbeat(ctx, "p1", heeded)
		require.NoError(t, err)
		return r
	}
	require.True(t, beat("").New)
	require.True(t, beat("").New, "the first reply was lost")
	last := beat("")
	for name, happens := range map[string]func(){
		"it was reaped": func() { p.expire(p.k.Proxies(), "p1"); p.reap(10) },
		"it was late":   func() { p.expire(p.k.Proxies(), "p1") },
		"it was late, then time stood still": func() {
			p.expire(p.k.Proxies(), "p1")
			p.lastSeen(time.Hour)
		},
		"another call has met it since":    func() { p.expire(p.k.Proxies(), "p1"); p.reap(10); p.acquire("s1") },
		"the clock was set back meanwhile": func() { p.lastSeen(-time.Hour) },
	} {
		require.False(t, beat(last.Told).New)
		known := beat(last.Told)
		require.False(t, known.New, "that it is known may be lost without harm")
		happens()
		lost := beat(known.Told)
		require.True(t, lost.New, name)
		last = beat(known.Told)
		require.True(t, last.New, "%s, and the reply was lost", name)
	}
}

func TestReapStartLease(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 1))
	p.acquire("s1")
	p.acquire("s2")
	p.read()
	ended, next := p.reap(10)
	require.Zero(t, ended)
	require.InDelta(t, 10*time.Second, next, float64(time.Second))
	p.expire(p.k.Leases(), "s1")
	require.Zero(t, p.proxyBeat("p1").Next)
	ended, next = p.reap(10)
	require.Equal(t, 1, ended)
	require.InDelta(t, 10*time.Second, next, float64(time.Second), "that of s2 now")
	require.Equal(t, []string{"session.ended s1", "session.assigned s2"}, p.types())
	require.Equal(t, event.ReasonLeaseExpired, p.only(event.SessionEnded).Session.Reason)
	notices := p.inbox("p1")
	require.Len(t, notices, 2)
	require.Equal(t, state.Notice{Epoch: notices[1].Epoch, Session: "s1", Ended: "lease_expired"}, notices[0])
	require.Equal(t, "s2", notices[1].Grant.Session)
}

func TestReapProxy(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 2))
	p.serve("active", "w1")
	p.acquire("assigned")
	p.acquire("queued")
	other := request("other")
	other.Proxy = "p2"
	p.ask(other)
	p.proxyBeat("p2")
	p.read()
	p.expire(p.k.Proxies(), "p1")
	done, _ := p.reap(10)
	require.Equal(t, 3, done, "two ends, and one session that needs none")
	require.ElementsMatch(t, []string{"session.ended assigned", "session.rejected queued", "session.assigned other"}, p.types())
	require.Equal(t, state.Active, p.acquire("active").Phase, "its worker sees the connection break")
	require.NotContains(t, p.dump().zset["proxies"], "p1")
	require.Empty(t, p.dump().under("owned:p1"))
	require.Empty(t, p.dump().under("inbox:p1"))
	p.finish("w1", "active")
}

func TestReapWorker(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	p.join(worker("w1", 2))
	p.serve("active", "w1")
	p.acquire("assigned")
	p.read()
	p.expire(p.k.Workers(), "w1")
	ended, _ := p.reap(10)
	require.Zero(t, ended)
	require.Equal(t, []string{"worker.lost w1"}, p.types())
	require.Equal(t, "lease_expired", p.only(event.WorkerLost).Worker.Reason)
	require.Empty(t, p.fleet())
	require.Equal(t, state.Active, p.acquire("active").Phase, "its proxy sees the connection break")
	require.Equal(t, state.StartOK, p.start("assigned", "w1", 1), "a worker that is cut off from Redis only may still start it")
	p.proxyBeat("p1", state.End{Session: "active", Reason: "worker_lost"}, state.End{Session: "assigned", Reason: "worker_lost"})
	require.Empty(t, p.dump().under("held:"))
}

func TestReapBoth(t *testing.T) {
	both := func(first, second func(p *pool)) func(t *testing.T) {
		return func(t *testing.T) {
			p := newPool(t)
			p.join(worker("w1", 1))
			p.serve("s1", "w1")
			first(p)
			p.reap(10)
			require.Equal(t, state.Active, p.acquire("s1").Phase)
			second(p)
			p.reap(10)
			require.Equal(t, state.Ended, p.acquire("s1").Phase)
			p.read()
			require.Equal(t, 1, p.told["s1"])
			require.Empty(t, p.dump().under("held:"))
			require.Empty(t, p.dump().under("owned:"))
		}
	}
	worker := func(p *pool) { p.expire(p.k.Workers(), "w1") }
	proxy := func(p *pool) { p.expire(p.k.Proxies(), "p1") }
	t.Run("worker first", both(worker, proxy))
	t.Run("proxy first", both(proxy, worker))
	t.Run("together", both(func(*pool) {}, func(p *pool) { worker(p); proxy(p) }))
	t.Run("the proxy comes back, then the worker goes, then the proxy for good", both(
		func(p *pool) {
			proxy(p)
			p.reap(10)
			p.proxyBeat("p1")
			worker(p)
		}, proxy))
	t.Run("the worker goes after its reaper has seen the proxy gone", both(proxy, func(p *pool) {
		p.proxyBeat("p1")
		worker(p)
		p.reap(10)
		proxy(p)
	}))
}

func TestReapGoesOnWhereTheBatchEnded(t *testing.T) {
	p := newPool(t)
	const processes, each = 11, 5
	for i := range processes {
		id := fmt.Sprint("w", i)
		p.join(worker(id, 1))
		r := request("a" + id)
		r.Proxy = fmt.Sprint("p", i)
		g := p.ask(r).Grant
		p.start(g.Session, g.Worker, g.Attempt)
	}
	for i := range processes {
		for j := range each {
			r := request(fmt.Sprintf("q%d-%d", i, j))
			r.Proxy, r.QueueLimit = fmt.Sprint("p", i), 1000
			require.Equal(t, state.Queued, p.ask(r).Phase)
		}
	}
	for i := range processes {
		p.expire(p.k.Workers(), fmt.Sprint("w", i))
		p.expire(p.k.Proxies(), fmt.Sprint("p", i))
	}
	all, calls := 0, 0
	for {
		const batch = 7
		ended, next := p.reap(batch)
		require.LessOrEqual(t, ended, batch+1, "the last worker of a batch may go over it")
		all += ended
		calls++
		p.check()
		if next != 0 {
			require.Less(t, time.Duration(0), next)
			break
		}
		require.Less(t, calls, 100, "every call must get on")
	}
	require.Equal(t, processes*(each+1), all)
	d := p.dump()
	require.Empty(t, d.zset["workers"])
	require.Empty(t, d.zset["proxies"])
	require.Empty(t, d.under("owned:"))
}

func TestReapFadedFlavour(t *testing.T) {
	p := newPool(t)
	w := worker("w1", 1)
	p.join(w)
	p.leave("w1", state.RetireDrain, false)
	p.acquire("s1")
	p.expire(p.k.Fading(), w.Flavour().Key())
	_, next := p.reap(10)
	require.Less(t, time.Second, next)
	require.Empty(t, p.dump().hash["flavours"])
	p.join(worker("w2", 1))
	require.Equal(t, state.Assigned, p.acquire("s1").Phase, "who waited for it still gets it (I4)")
	p.check()
}

func TestATicketOfADeadProxyIsPassedOver(t *testing.T) {
	p := newPool(t)
	r := request("dead")
	r.Proxy = "p2"
	p.ask(r)
	p.acquire("living")
	p.proxyBeat("p1")
	p.expire(p.k.Proxies(), "p2")
	p.read()
	p.join(worker("w1", 1))
	require.Equal(t, []string{"worker.joined w1", "session.rejected dead", "session.assigned living"}, p.types())
	require.Equal(t, event.ReasonProxyLost, p.only(event.SessionRejected).Session.Reason)
	require.Equal(t, "proxy_lost", p.inbox("p2")[0].Ended, "should it be alive after all, it must know")
}

func TestThousandsOfTicketsOfADeadProxyDoNotHoldRedis(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(p *pool)
	}{
		{"the reaper comes", func(p *pool) {
			for next := time.Duration(0); next == 0; {
				_, next = p.reap(50)
			}
		}},
		{"the proxy comes back", func(p *pool) { p.proxyBeat("p2") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			p.proxyBeat("p1")
			for i := range 250 {
				r := request(fmt.Sprint("dead", i))
				r.Proxy, r.QueueLimit = "p2", 1000
				p.ask(r)
			}
			r := request("living")
			r.QueueLimit = 1000
			p.ask(r)
			p.expire(p.k.Proxies(), "p2")
			p.read()
			p.join(worker("w1", 1))
			require.Len(t, p.types(), 1+100)
			c.then(p)
			p.check()
			require.Len(t, p.dump().set["held:w1"], 1, "the slot is somebody's (I4)")
		})
	}
}

func TestAnInboxThatNobodyReadsGoesAway(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	require.Empty(t, p.dump().under("inbox:"), "a heartbeat makes none")
	p.acquire("s1")
	p.join(worker("w1", 1))
	ttl := p.dump().ttl["inbox:p1"]
	require.Positive(t, ttl)
	p.inbox("p1")
	require.Positive(t, p.dump().ttl["inbox:p1"])
	p.proxyBeat("p1")
	require.Positive(t, p.dump().ttl["inbox:p1"])
}

func TestEndedRecordsAreBounded(t *testing.T) {
	t.Run("by count", func(t *testing.T) {
		p := newPool(t, func(o *state.Options) { o.EndedMax = 3 })
		p.join(worker("w1", 1))
		for i := range 8 {
			p.serve(fmt.Sprint("s", i), "w1")
			p.finish("w1", fmt.Sprint("s", i))
		}
		d := p.dump()
		require.Len(t, d.zset["ended"], 3)
		require.Len(t, d.under("session:"), 3)
		require.Contains(t, d.zset["ended"], "s7")
	})
	t.Run("by less than before", func(t *testing.T) {
		p := newPool(t, func(o *state.Options) { o.EndedMax = 30 })
		p.join(worker("w1", 1))
		end := func(id string) {
			p.serve(id, "w1")
			p.finish("w1", id)
		}
		for i := range 30 {
			end(fmt.Sprint("s", i))
		}
		fewer := p.Options()
		fewer.EndedMax = 3
		var err error
		p.Store, err = state.New(p.c, p.k, fewer, nil)
		require.NoError(t, err)
		end("s30")
		end("s31")
		require.Len(t, p.dump().zset["ended"], 3)
	})
	t.Run("many by count, about", func(t *testing.T) {
		const most = 1001
		p := newPool(t, func(o *state.Options) { o.EndedMax = most })
		p.join(worker("w1", 1))
		for i := range most + 200 {
			id := fmt.Sprintf("%04x", i)
			p.serve(id, "w1")
			p.finish("w1", id)
			if i%8 == 0 { // it looks after the bound
				n, err := p.do("ZCARD", p.k.Ended()).ToInt64()
				require.NoError(t, err)
				require.LessOrEqual(t, n, int64(most))
			}
		}
		d := p.dump()
		require.InDelta(t, most, len(d.zset["ended"]), 8)
		require.Len(t, d.under("session:"), len(d.zset["ended"]))
	})
	t.Run("by age", func(t *testing.T) {
		p := newPool(t)
		p.join(worker("w1", 1))
		p.serve("s1", "w1")
		p.finish("w1", "s1")
		require.InDelta(t, time.Hour.Milliseconds(), p.dump().ttl["session:s1"], 10_000)
		p.expire(p.k.Ended(), "s1")
		p.proxyBeat("p1")
		require.Empty(t, p.dump().zset["ended"])
	})
	t.Run("one that a worker takes up again is not among them", func(t *testing.T) {
		p := newPool(t, func(o *state.Options) { o.EndedMax = 1 })
		p.join(worker("w1", 2))
		p.serve("s1", "w1")
		p.finish("w1", "s1")
		require.NoError(t, p.do("DEL", p.k.Session("s1")).Error()) // its hour is over
		p.joinAs(state.JoinRequest{Worker: worker("w1", 2), State: state.Ready, Number: 2, Rejoin: true, Sessions: []state.Serving{serving("s1", 1)}})
		p.serve("s2", "w1")
		p.finish("w1", "s2")
		require.Equal(t, "active", p.dump().hash["session:s1"]["state"])
		p.forget() // the log has s1 ended for good, and this is not about the log
	})
}

func TestEventsAreBoundedByAge(t *testing.T) {
	p := newPool(t, func(o *state.Options) { o.EventsMaxAge = time.Hour })
	for i := range 500 {
		require.NoError(t, p.do("XADD", p.k.Events(), fmt.Sprint(i+1, "-0"), "k", "v").Error())
	}
	p.proxyBeat("p1")
	n, err := p.do("XLEN", p.k.Events()).ToInt64()
	require.NoError(t, err)
	require.Less(t, n, int64(200), "whole blocks of old entries go")
	p.forget()
}

func TestEventsAreBoundedByCount(t *testing.T) {
	p := newPool(t, func(o *state.Options) { o.EventsMaxEntries = 100 })
	p.join(worker("w1", 1))
	for i := range 200 {
		p.serve(fmt.Sprint("s", i), "w1")
		p.finish("w1", fmt.Sprint("s", i))
	}
	n, err := p.do("XLEN", p.k.Events()).ToInt64()
	require.NoError(t, err)
	require.Less(t, n, int64(300))
	p.forget()
}

// A worker whose sessions are too many for one batch goes with the last of them,
// and may come back before that with those that are left.
func TestReapWorkerInBatches(t *testing.T) {
	lost := func(t *testing.T) *pool {
		t.Helper()
		p := newPool(t)
		p.join(worker("w1", 5))
		for i := range 5 {
			p.serve(fmt.Sprint("s", i), "w1")
		}
		p.expire(p.k.Workers(), "w1")
		p.expire(p.k.Proxies(), "p1")
		p.read()
		ended, next := p.reap(3)
		require.Equal(t, 2, ended, "and the worker is the third thing it looks at")
		require.Zero(t, next, "more is due")
		require.Equal(t, []string{"session.ended", "session.ended"}, kinds(p))
		return p
	}
	t.Run("it stays away", func(t *testing.T) {
		p := lost(t)
		p.reap(3)
		require.Equal(t, []string{"session.ended", "session.ended"}, kinds(p))
		ended, _ := p.reap(3)
		require.Equal(t, 1, ended)
		require.Equal(t, []string{"worker.lost", "session.ended"}, kinds(p))
		require.Empty(t, p.dump().zset["workers"])
		require.Empty(t, p.dump().under("held:"))
	})
	t.Run("it comes back", func(t *testing.T) {
		p := lost(t)
		r := p.beat("w1", 2, "s0", "s1", "s2", "s3", "s4")
		require.Equal(t, state.Ready, r.State)
		require.Len(t, r.Ended, 2, "ended is final")
		p.reap(3)
		require.Empty(t, kinds(p))
		require.Len(t, p.dump().set["held:w1"], 3)
		p.proxyBeat("p1")
	})
}

// kinds are the types of the events since the last look, in order.
func kinds(p *pool) (list []string) {
	for _, name := range p.types() {
		kind, _, _ := strings.Cut(name, " ")
		list = append(list, kind)
	}
	return list
}

// A proxy that nothing was heard of for a while is forgotten, and known again from its next
// session on: the reaper must find what it has.
func TestProxyIsMetAgain(t *testing.T) {
	p := newPool(t, func(o *state.Options) { o.ProcessLease = 50 * time.Millisecond })
	known := func() bool {
		_, ok := p.dump().zset["proxies"]["p1"]
		return ok
	}
	for i := range 3 {
		id := fmt.Sprint("s", i)
		require.Equal(t, state.Queued, p.acquire(id).Phase)
		require.True(t, known())
		p.cancel(id)
		require.Eventually(t, func() bool {
			p.reap(10)
			return !known()
		}, 20*time.Second, 5*time.Millisecond)
	}
}

// And from its first session in a Redis that lost its data.
func TestProxyIsMetInEachDataSet(t *testing.T) {
	p := newPool(t)
	for i := range 2 {
		require.Equal(t, state.Queued, p.acquire(fmt.Sprint("s", i)).Phase)
		require.Contains(t, p.dump().zset["proxies"], "p1")
		p.wipe()
	}
}
