package faulttable_test

import (
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

var oneSlot = harness.Settings{"slots": "1"}

// held tells whether any slot is taken.
func held(s *scene) func() bool {
	return func() bool { return len(s.pool.Snapshot(s).Held) > 0 }
}

func not(ok func() bool) func() bool { return func() bool { return !ok() } }

var proxyRows = []*row{
	{
		name: "ProxyKilled",
		Row:  faulttable.Row{Fault: "a proxy of two is killed (`kill -9`)"},
		cast: cast{proxies: 2, workers: 1, worker: oneSlot},
		play: func(s *scene) {
			c := s.connect(0, "victim")
			here := harness.Upgrade(s, s.toProxy[0].Address(), "/?name=here", "1.65.1", nil)
			s.pool.Log.AwaitSession(s, "here", event.SessionQueued)
			there := s.visit(1, "name=there")
			s.pool.Log.AwaitSession(s, "there", event.SessionQueued)
			s.strike(s.pool.Proxies[0].Kill)
			s.lost(c, "its connection closes after %s")
			here.AwaitEnd(s)
			s.saw(waiting, "who waits there: its connection closes after %s")
			s.event(noticed, "`session.ended` after %s", ended("victim"))
			s.over(there)
			s.must(there.err)
			s.event(recovered, "the slot serves a client of the other proxy after %s", func(e event.Event) bool {
				return e.Type == event.SessionStarted && e.Session.Name == "there"
			})
			// It gets the slot first, since nobody knows yet, and does not start.
			s.event(noticed, "the end of who waited there (`lease_expired` or `proxy_lost`) after %s", func(e event.Event) bool {
				return (e.Type == event.SessionEnded || e.Type == event.SessionRejected) && e.Session.Name == "here"
			})
			s.when(recovered, "no slot is taken after %s", not(held(s)))
		},
		limits: promised(leases, leases),
	},
	{
		name: "ProxyKilledWithReservation",
		Row:  faulttable.Row{Fault: "a proxy of two is killed while it has a slot reserved for a session that has not started"},
		cast: cast{proxies: 2, workers: 1, worker: oneSlot},
		play: func(s *scene) {
			// A worker that stands still keeps the session between assignment and start.
			thaw := s.freeze(s.pool.Workers[0].Process())
			here := harness.Upgrade(s, s.toProxy[0].Address(), "/?name=here", "1.65.1", nil)
			s.pool.Log.AwaitSession(s, "here", event.SessionAssigned)
			s.strike(s.pool.Proxies[0].Kill)
			here.AwaitEnd(s)
			s.saw(connected, "its connection closes after %s")
			thaw()
			v := s.visit(1, "")
			s.event(noticed, "`session.ended` after %s", ended("here"))
			s.gotPage(v, waiting, "waits at the other proxy, and gets a page after %s")
			s.when(recovered, "no slot is taken after %s", not(held(s)))
		},
		limits: promised(leases, leases),
	},
	{
		name: "ProxyFrozen",
		Row:  faulttable.Row{Fault: "a proxy of two stands still (`kill -STOP`) for 40 s"},
		cast: cast{proxies: 2, workers: 1},
		play: func(s *scene) {
			c := s.connect(0, "victim")
			var thaw func()
			s.strike(func() { thaw = s.freeze(s.pool.Proxies[0].Process()) })
			s.when(noticed, "`/readyz` gives no answer from %s on (a balancer's probe decides)", unready(s.pool.Proxies[0]))
			v := s.visit(0, "name=here")
			s.gotPage(s.visit(1, ""), recovered, "at once: the other proxy gives a new client a page in %s")
			s.pass(40 * time.Second)
			s.fresh()
			thaw()
			c.works()
			s.saw(connected, "waits, and goes on %s after the proxy does")
			s.over(v)
			s.must(v.err)
			s.note(waiting, "who comes to it waits, and gets a page after it goes on", 0)
			s.when(recovered, "ready %s after it goes on", ready(s.pool.Proxies[0]))
			c.quit()
		},
	},
	{
		name: "ProxyStops",
		Row:  faulttable.Row{Fault: "the only proxy is stopped (SIGTERM) and started again, without a handover"},
		cast: cast{workers: 1},
		play: func(s *scene) {
			c := s.connect(0, "running")
			proxy := s.pool.Proxies[0]
			first := proxy.Process()
			s.strike(func() { first.Signal(s, syscall.SIGTERM) })
			s.when(noticed, "readiness is 503 after %s", unready(proxy))
			s.over(s.visit(0, ""))
			v := s.visit(0, "")
			s.over(v)
			require.Error(s, v.err)
			s.note(waiting, "cannot connect until the next process serves, or, if it waited, gets 503 (`draining`)", 0)
			c.works()
			s.note(connected, "goes on, for up to `drain` (300 s)", 0)
			c.quit()
			<-first.Done()
			s.fresh()
			proxy.Start(s)
			s.when(recovered, "the next process serves %s after its start", ready(proxy))
			s.gotPage(s.visit(0, ""), recovered, "a page in %s")
		},
	},
}
