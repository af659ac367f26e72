package admit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func TestGrantedAtOnce(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	g := a.granted("w1", 1)
	require.Equal(t, 1, x.Waiting(), "until its session runs")
	p.serve(g)
	a.Started()
	require.Zero(t, x.Waiting())
	a.Close("cancelled")
	require.Equal(t, state.Active, p.phase("s1"), "closing behind the start does nothing")
}

func TestFreedSlotGoesToWhoWaitsAtAnotherProxy(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x, y := p.proxy("p1"), p.proxy("p2")
	first := x.ask("s1", time.Minute)
	p.serve(first.granted("w1", 1))
	first.Started()

	second := y.ask("s2", time.Minute)
	p.waitFor("s2")
	third := x.ask("s3", time.Minute)
	p.waitFor("s2", "s3")

	require.NoError(t, p.Finish(t.Context(), state.SideWorker, "w1", state.End{Session: "s1", Reason: "client_closed"}))
	second.granted("w1", 1)
	p.waitFor("s3")
	second.Close("cancelled") // its client left: the slot goes on
	third.granted("w1", 1)
}

func TestClientThatLeavesIsOutOfTheQueue(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	p.waitFor("s1")
	a.leave()
	require.ErrorIs(t, a.outcome().err, context.Canceled)
	require.Empty(t, p.queue(), "at once, not with a heartbeat")
	require.Zero(t, x.Waiting())
}

// waitedAndPlace is what a client reads that was at that place for what it asked
// for, while so many waited in the whole pool.
func waitedAndPlace(place, waiting int) string {
	return fmt.Sprintf(`^It waited \S+\. When it came it was number %d in line for what it asked for; in the whole pool %d waited, itself included\.$`, place, waiting)
}

func TestWaitTimeout(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	first := x.ask("s1", time.Minute)
	p.waitFor("s1")
	no := x.ask("s2", 30*time.Millisecond).refused(refusal.WaitTimeout)
	require.Regexp(t, waitedAndPlace(2, 2), no.Detail)
	require.Equal(t, []string{"s1"}, p.queue())
	first.leave()
	first.outcome()

	no = x.ask("s3", 30*time.Millisecond).refused(refusal.WaitTimeout)
	require.Regexp(t, waitedAndPlace(1, 1), no.Detail)
	require.Empty(t, p.queue())
}

// Where the pool has nothing that a client waits for it is told so, whatever
// else it hears.
func TestWaitForWhatThePoolDoesNotHave(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1", func(o *Options) {
		o.Absent = func(d state.Demand) string { return "There is no " + d.Browser + "." }
	})
	fox := state.Request{Session: "fox", Demand: state.Demand{Browser: "firefox"}}
	require.Regexp(t, `^There is no firefox\. It waited `, x.askFor(fox, 30*time.Millisecond).refused(refusal.WaitTimeout).Detail)
}

// Who waits for something else is in the pool's number only.
func TestPlaceIsInTheLineOfWhatWasAskedFor(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	x.ask("s1", time.Minute)
	x.ask("s2", time.Minute)
	p.eventually("both wait", func() bool { return len(p.queue()) == 2 })
	fox := state.Request{Session: "fox", Demand: state.Demand{Browser: "firefox"}}
	require.Regexp(t, waitedAndPlace(1, 3), x.askFor(fox, 30*time.Millisecond).refused(refusal.WaitTimeout).Detail)
}

func TestQueueFullIsOfTheWholePool(t *testing.T) {
	p := newPool(t)
	limit := func(o *Options) { o.QueueLimit = 1 }
	p.proxy("p1", limit).ask("s1", time.Minute)
	p.waitFor("s1")
	no := p.proxy("p2", limit).ask("s2", time.Minute).refused(refusal.QueueFull)
	require.Equal(t, "1 clients wait already.", no.Detail)
	require.Equal(t, []string{"s1"}, p.queue())
}

func TestRefusalsOfThePool(t *testing.T) {
	p := newPool(t, func(o *state.Options) {
		o.MaxClasses = 1
		o.ProcessLease = time.Nanosecond // a data set is young for as long as a lease
	})
	p.join("w1", 1)
	x := p.proxy("p1")
	no := x.askFor(state.Request{Session: "s1", Demand: state.Demand{Browser: "chromium", Playwright: "1.99"}}, time.Minute).refused(refusal.NoVersion)
	require.Equal(t, "Your client speaks Playwright 1.99; this pool has chromium for Playwright 1.56.", no.Detail)

	x.askFor(state.Request{Session: "s2", Demand: state.Demand{Browser: "firefox"}}, time.Minute)
	p.waitFor("s2")
	x.askFor(state.Request{Session: "s3", Demand: state.Demand{Browser: "webkit"}}, time.Minute).refused(refusal.TooManyClasses)
}

func TestDrainRefusesWhoWaitsAndWhoComes(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	p.waitFor("s1")
	x.Drain()
	x.Drain()
	require.Regexp(t, waitedAndPlace(1, 1), a.refused(refusal.Draining).Detail)
	require.Empty(t, p.queue())
	require.Empty(t, x.ask("s2", time.Minute).refused(refusal.Draining).Detail, "it has not waited")
	require.Empty(t, p.queue())
}

func TestWhoWaitsIsQueuedAgainInOrder(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1", func(o *Options) { o.QueueLimit = 12 })
	all := map[string]*asking{}
	var order []string
	for i := range 12 {
		id := fmt.Sprintf("s%02d", i)
		all[id] = x.ask(id, time.Minute)
		order = append(order, id)
		p.waitFor(order...)
	}
	p.wipe()
	require.NoError(t, x.Beat(t.Context())) // its reply has another epoch
	p.waitFor(order...)

	p.join("w1", 2)
	all["s00"].granted("w1", 1)
	all["s01"].granted("w1", 1)
	require.Equal(t, order[2:], p.queue())
}

func TestRunningSessionIsNotQueuedAgain(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	p.serve(a.granted("w1", 1))
	a.Started()
	b := x.ask("s2", time.Minute)
	p.waitFor("s2")
	p.wipe()
	require.NoError(t, x.Beat(t.Context()))
	p.waitFor("s2")
	require.Equal(t, state.Unknown, p.phase("s1"))
	b.leave()
	b.outcome()
}

func TestOlderGrantIsIgnored(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	g := a.granted("w1", 1)
	a.reassign(g)
	p.waitFor("s1") // w1 is suspect now, and there is no other

	r, err := p.ProxyHeartbeat(t.Context(), "p1", "")
	require.NoError(t, err)
	x.Notice(state.Notice{Epoch: r.Epoch, Session: "s1", Granted: true, Grant: g})
	x.Notice(state.Notice{Epoch: r.Epoch, Session: "nobody's", Granted: true, Grant: g})
	p.join("w2", 1)
	a.granted("w2", 2)
}

func TestReassignGetsAnotherWorker(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	g := a.granted("w1", 1)
	p.join("w2", 1)
	a.reassign(g)
	a.granted("w2", 2)
	require.Zero(t, p.held("w1"))
	require.Equal(t, 1, p.held("w2"))
	members, _, err := p.Fleet(t.Context())
	require.NoError(t, err)
	require.Equal(t, state.Suspect, members["w1"].State)
}

func TestReassignOfASessionThatRedisLost(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	g := a.granted("w1", 1)
	p.wipe()
	p.join("w2", 1)
	a.reassign(g)
	a.granted("w2", 1) // the first attempt of another data set
}

// A failover lost that a session was placed, and its attempts are counted anew.
func TestReassignAfterAFailover(t *testing.T) {
	again := func(p *pool) {
		_, err := p.Acquire(p.t.Context(), state.Request{Session: "s1", Proxy: "p1", Demand: state.Demand{Browser: "chromium"}, Again: true})
		require.NoError(p.t, err)
	}
	for name, c := range map[string]struct {
		meanwhile func(p *pool)
		late      bool // the other worker joins when the grant was given back
	}{
		"of which nobody has asked again":  {func(p *pool) { p.join("w2", 1) }, false},
		"which has another worker by now":  {func(p *pool) { p.join("w2", 1); again(p) }, false},
		"which waits, and is placed later": {again, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			p.join("w1", 1)
			x := p.proxy("p1")
			a := x.ask("s1", time.Minute)
			g := a.granted("w1", 1)
			p.lose("s1", "w1")
			_, err := p.Leave(t.Context(), "w1", state.RetireDrain, 2, true)
			require.NoError(t, err)
			c.meanwhile(p)
			a.reassign(g)
			if c.late {
				<-x.store.reassigned
				p.join("w2", 1)
			}
			a.granted("w2", 1)
		})
	}
}

func TestBlameLeavesTheWorkerOut(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	a.Blame(t.Context(), a.granted("w1", 1))
	members, _, err := p.Fleet(t.Context())
	require.NoError(t, err)
	require.Equal(t, state.Suspect, members["w1"].State)
	a.Close("dial_failed")
	require.Empty(t, p.queue())
	require.Zero(t, p.held("w1"))
}

func TestEndsInTheInbox(t *testing.T) {
	tests := map[string]refusal.Code{"lease_expired": refusal.LeaseExpired, "proxy_lost": refusal.Lost}
	for reason, code := range tests {
		t.Run(reason, func(t *testing.T) {
			p := newPool(t)
			x := p.proxy("p1")
			a := x.ask("s1", time.Minute)
			p.waitFor("s1")
			x.Notice(state.Notice{Session: "s1", Ended: reason})
			require.Regexp(t, waitedAndPlace(1, 1), a.refused(code).Detail)
		})
	}
}

func TestCancelThatFailsIsSaidLater(t *testing.T) {
	ways := map[string]func(*proxy){
		"when Redis is back":      func(x *proxy) { x.SetHealth(false); x.SetHealth(true) },
		"at the end":              func(x *proxy) { require.NoError(x.t, x.Flush(x.t.Context())) },
		"with the next heartbeat": func(x *proxy) { x.heartbeat(x.t.Context(), false) },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			errs := make(chan struct{}, 1000)
			x := p.proxy("p1", func(o *Options) { o.RedisError = func() { errs <- struct{}{} } })
			a, b := x.ask("s1", time.Minute), x.ask("s2", time.Minute)
			p.eventually("both", func() bool { return len(p.queue()) == 2 })
			x.store.set(true, "cancel")
			a.leave()
			b.leave()
			a.outcome()
			b.outcome()
			require.Len(t, p.queue(), 2)
			require.Len(t, errs, 2)
			for range 2 * cancelsAtOnce {
				x.later(cancelled{NewID(), "cancelled"})
			}
			x.flush(t.Context())
			require.Equal(t, 2+cancelsAtOnce, x.store.failures("cancel"), "the next ones would only wait as long as the first")
			require.Len(t, x.behind.cancels, 2+2*cancelsAtOnce)
			x.store.set(false, "cancel")
			way(x)
			p.waitFor()
		})
	}
}

func TestRedisThatIsAwayIsWaitedFor(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	x.store.set(true, "acquire")
	x.SetHealth(false)
	a := x.ask("s1", time.Minute)
	p.eventually("a failure", func() bool { return x.store.failures("acquire") > 0 })
	x.store.set(false, "acquire")
	x.SetHealth(true)
	a.granted("w1", 1)
}

func TestRedisThatStaysAway(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	x.store.set(true, "acquire")
	x.SetHealth(false)
	require.Regexp(t, `^It waited \S+\.$`, x.ask("s1", 20*time.Millisecond).refused(refusal.RedisUnavailable).Detail)
	a := x.ask("s2", time.Minute)
	a.leave()
	require.ErrorIs(t, a.outcome().err, context.Canceled)
	b := x.ask("s3", time.Minute)
	p.eventually("a failure", func() bool { return x.store.failures("acquire") > 1 })
	x.Drain()
	b.refused(refusal.Draining)
}

func TestEndsAreReported(t *testing.T) {
	p := newPool(t)
	p.join("w1", 2)
	x := p.proxy("p1", func(o *Options) { o.Heartbeat = 20 * time.Millisecond })
	for _, id := range []string{"s1", "s2"} {
		a := x.ask(id, time.Minute)
		p.serve(a.granted("w1", 1))
		a.Started()
	}
	x.store.set(true, "heartbeat")
	x.Ended(state.End{Session: "s1", Reason: "client_closed"})
	before := x.store.failures("heartbeat")
	p.eventually("heartbeats fail", func() bool { return x.store.failures("heartbeat") > before+2 })
	require.Equal(t, state.Active, p.phase("s1"))
	x.store.set(false, "heartbeat")
	p.eventually("the next heartbeat tells", func() bool { return p.phase("s1") == state.Ended })
	r, _, err := p.Record(t.Context(), "s1")
	require.NoError(t, err)
	require.Equal(t, "client_closed", r.Reason)
	require.Equal(t, state.Active, p.phase("s2"))
}

func TestFlushReportsWhatIsLeft(t *testing.T) {
	p := newPool(t)
	p.join("w1", 1)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	p.serve(a.granted("w1", 1))
	a.Started()
	x.Ended(state.End{Session: "s1", Reason: "browser_closed"})
	seen := x.ends[0].at
	x.store.set(true, "finish")
	require.ErrorIs(t, x.Flush(t.Context()), errAway)
	require.Equal(t, seen, x.ends[0].at, "it happened when it happened, however often the call fails")
	x.store.set(false, "finish")
	require.NoError(t, x.Flush(t.Context()))
	require.Equal(t, state.Ended, p.phase("s1"))
}

func TestReapsWhenADeadlineComes(t *testing.T) {
	p := newPool(t, func(o *state.Options) { o.StartLease = 50 * time.Millisecond })
	p.join("w1", 1)
	x := p.proxy("p1", func(o *Options) { o.Heartbeat = 100 * time.Millisecond })
	a := x.ask("s1", time.Minute)
	a.granted("w1", 1)
	p.eventually("the start lease", func() bool { return p.phase("s1") == state.Ended })
	require.Zero(t, p.held("w1"))
	x.ask("s2", time.Minute).granted("w1", 1)
}

func TestHeartbeatFindsThatRedisWasEmptied(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1", func(o *Options) { o.Heartbeat = 10 * time.Millisecond })
	a := x.ask("s1", time.Minute)
	p.waitFor("s1")
	p.wipe()
	p.waitFor("s1")
	a.leave()
	a.outcome()
	require.Empty(t, p.queue())
}

// reasons is what the events of a session say that its proxy gave up. Only what a
// client has done may be called policy.
var reasons = map[refusal.Code]string{
	refusal.WaitTimeout: "wait_timeout", refusal.RedisUnavailable: "wait_timeout", refusal.Draining: "proxy_drained",
	refusal.DialFailed: "dial_failed", refusal.OutOfDescriptors: "dial_failed", refusal.LeaseExpired: "lease_expired",
	refusal.NoAssignment: "dial_failed", refusal.WorkerFull: "dial_failed", refusal.BrowserDown: "dial_failed",
	refusal.NoVersion: "worker_closed", refusal.ServerRefused: "worker_closed", refusal.UpgradeRequired: "worker_closed",
	refusal.QueueFull: "queue_full", refusal.TooManyClasses: "queue_full", refusal.TokenLimit: "token_limit", refusal.TokenQueue: "token_queue",
	refusal.Lost: "proxy_lost", refusal.OtherRelease: "proxy_lost", refusal.Internal: "proxy_lost",

	refusal.BadRequest: "policy", refusal.RequestTooLong: "policy", refusal.RequestTimeout: "policy",
	refusal.UnknownBrowser: "policy", refusal.BadQuery: "policy", refusal.CDPClient: "policy", refusal.ExposeNetwork: "policy", refusal.Unauthorized: "policy",
	refusal.AuthFailures: "policy", refusal.ForeignOrigin: "policy", refusal.NotFound: "policy",
	refusal.Pending: "policy", refusal.NoLabels: "policy", refusal.NoIsolation: "policy",
}

func TestReason(t *testing.T) {
	require.Equal(t, "cancelled", Reason(context.Canceled))
	require.Equal(t, "cancelled", Reason(fmt.Errorf("dialling: %w", context.Canceled)))
	require.Equal(t, "proxy_lost", Reason(errors.New("anything")))
	for _, row := range refusal.All() {
		require.Equal(t, reasons[row.Code], Reason(refusal.New(row.Code, "")), row.Code)
	}
	require.Len(t, reasons, len(refusal.All()))
}

func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		id := NewID()
		require.Regexp(t, `^[0-9a-f]{32}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
}
