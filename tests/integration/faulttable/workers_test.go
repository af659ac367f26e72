package faulttable_test

import (
	"syscall"
	"time"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

const (
	noticed   = faulttable.Noticed
	connected = faulttable.Connected
	waiting   = faulttable.Waiting
	recovered = faulttable.Recovered
)

// limits as in the documentation.
func promised(noticedBy, recoveredBy time.Duration) map[faulttable.Column]time.Duration {
	limits := map[faulttable.Column]time.Duration{}
	if noticedBy > 0 {
		limits[noticed] = noticedBy
	}
	if recoveredBy > 0 {
		limits[recovered] = recoveredBy
	}
	return limits
}

// leases are a heartbeat and a process lease, and what a busy machine adds.
const leases = 20*time.Second + 2*time.Second

// silent are the limits of a worker that answers nobody: a lease, relay.dead, and
// the ticks of the relay and the reaper between them.
func silent() map[faulttable.Column]time.Duration {
	limits := promised(leases, 0)
	limits[connected] = 90 * time.Second
	return limits
}

var workerRows = []*row{
	{
		name: "WorkerKilled",
		Row:  faulttable.Row{Fault: "a worker is killed (`kill -9`), its supervisor starts it again"},
		play: func(s *scene) {
			c := s.connect(0, "victim")
			s.strike(s.pool.Workers[c.worker].Kill)
			v := s.visit(0, "")
			s.lost(c, "its connection closes after %s")
			s.gotPage(v, waiting, "gets a page on another worker after %s")
			s.event(noticed, "`session.ended` (`worker_lost`) after %s", ended("victim"))
			s.when(recovered, "the worker is ready again after %s", ready(s.pool.Workers[c.worker]))
		},
	},
	{
		name:   "WorkerGone",
		Row:    faulttable.Row{Fault: "a worker is killed and nobody starts it again"},
		cast:   cast{alone: true},
		limits: promised(leases, 0),
		play: func(s *scene) {
			c := s.connect(0, "victim")
			s.strike(s.pool.Workers[c.worker].Kill)
			v := s.visit(0, "")
			s.lost(c, "its connection closes after %s")
			s.gotPage(v, waiting, "gets a page on another worker after %s")
			s.event(noticed, "`session.ended` (`worker_lost`) after %s", ended("victim"))
			s.event(noticed, "`worker.lost` after %s", of(event.WorkerLost))
			s.gotPage(s.visit(0, ""), recovered, "at once: a new client gets a page in %s, on another worker")
		},
	},
	{
		name:   "WorkerFrozenForAWhile",
		Row:    faulttable.Row{Fault: "a worker stands still (`kill -STOP`) for 30 s"},
		limits: promised(leases, 0),
		play: func(s *scene) {
			c := s.connect(0, "victim")
			w := s.pool.Workers[c.worker]
			var thaw func()
			s.strike(func() { thaw = s.freeze(w.Process()) })
			// Two, because the victim's worker is not the least loaded one.
			one, other := s.visit(0, ""), s.visit(0, "")
			s.gotPage(one, waiting, "gets a page on another worker after %s")
			s.gotPage(other, waiting, "gets a page on another worker after %s")
			s.event(noticed, "`worker.suspect` (somebody dialled it) after %s", of(event.WorkerSuspect))
			s.event(noticed, "`worker.lost` after %s", of(event.WorkerLost))
			s.pass(30 * time.Second)
			s.fresh()
			thaw()
			c.works()
			s.saw(connected, "waits, and goes on %s after the worker does")
			s.event(recovered, "`worker.joined` %s after it goes on", of(event.WorkerJoined))
			c.quit()
		},
	},
	{
		name:   "WorkerFrozen",
		Row:    faulttable.Row{Fault: "a worker stands still for good"},
		limits: silent(),
		play: func(s *scene) {
			c := s.connect(0, "victim")
			s.strike(func() { s.freeze(s.pool.Workers[c.worker].Process()) })
			s.event(noticed, "`worker.lost` after %s", of(event.WorkerLost))
			s.gotPage(s.visit(0, ""), recovered, "a new client gets a page in %s, on another worker")
			s.lost(c, "waits; its connection closes after %s")
			s.event(recovered, "`session.ended` after %s", ended("victim"))
		},
	},
	{
		name:   "HostGone",
		Row:    faulttable.Row{Fault: "a worker's host is gone: no packet from or to it arrives"},
		limits: silent(),
		play: func(s *scene) {
			c := s.connect(0, "victim")
			s.strike(func() {
				s.must(s.workerRedis[c.worker].Partition())
				s.must(s.toWorker[c.worker].Partition())
			})
			one, other := s.visit(0, ""), s.visit(0, "")
			s.gotPage(one, waiting, "gets a page on another worker after %s")
			s.gotPage(other, waiting, "gets a page on another worker after %s")
			s.event(noticed, "`worker.suspect` (somebody dialled it) after %s", of(event.WorkerSuspect))
			s.event(noticed, "`worker.lost` after %s", of(event.WorkerLost))
			s.gotPage(s.visit(0, ""), recovered, "a new client gets a page in %s, on another worker")
			s.lost(c, "waits; its connection closes after %s")
			s.event(recovered, "`session.ended` after %s", ended("victim"))
			s.fresh()
			s.must(s.workerRedis[c.worker].Heal())
			s.must(s.toWorker[c.worker].Heal())
			s.event(recovered, "`worker.joined` %s after the host is back", of(event.WorkerJoined))
		},
	},
	{
		name: "WorkerStopped",
		Row:  faulttable.Row{Fault: "a worker is stopped (SIGTERM), its supervisor starts it again when it has ended; `drain` is 5 s"},
		cast: cast{worker: harness.Settings{"drain": "5s"}},
		play: func(s *scene) {
			c := s.connect(0, "victim")
			w := s.pool.Workers[c.worker]
			boots := w.Boots()
			s.strike(func() { w.Process().Signal(s, syscall.SIGTERM) })
			s.event(noticed, "`worker.retiring` after %s", of(event.WorkerRetiring))
			s.when(noticed, "its readiness is 503 after %s", unready(w))
			// Two, because the victim's worker is not the least loaded one.
			one, other := s.visit(0, ""), s.visit(0, "")
			s.gotPage(one, waiting, "gets a page on another worker in %s")
			s.gotPage(other, waiting, "gets a page on another worker in %s")
			c.works()
			s.lost(c, "goes on, and is closed with 1001 and a reason after %s")
			s.event(noticed, "`session.ended` (`worker_drained`) after %s", ended("victim"))
			s.event(noticed, "`worker.left` after %s", of(event.WorkerLeft))
			s.when(recovered, "the next one is ready after %s", func() bool { return w.Boots() > boots && w.Ready() })
			s.gotPage(s.visit(0, ""), recovered, "a page in %s")
		},
	},
	{
		name: "WorkerKilledBeforeTheStart",
		Row:  faulttable.Row{Fault: "a worker is killed while a session is assigned to it and has not started"},
		cast: cast{alone: true},
		play: func(s *scene) {
			c := s.connect(0, "busy") // on the other worker, then
			target := s.pool.Workers[1-c.worker]
			thaw := s.freeze(target.Process())
			v := s.visit(0, "name=between")
			s.pool.Log.AwaitSession(s, "between", event.SessionAssigned)
			s.strike(func() { target.Kill(); thaw() })
			s.event(noticed, "`worker.suspect` after %s", of(event.WorkerSuspect))
			s.event(recovered, "the session starts on another worker after %s", func(e event.Event) bool {
				return e.Type == event.SessionStarted && e.Session.Name == "between"
			})
			s.over(v)
			s.must(v.err)
			s.note(waiting, "notices nothing: gets its page, from another worker", 0)
			c.works()
			s.note(connected, "–", 0)
			c.quit()
		},
	},
}

// each names an operation on a link, for scene.links.
func blackHole(l *faults.Link) error { return l.BlackHole() }
func heal(l *faults.Link) error      { return l.Heal() }
func cut(l *faults.Link) error       { return l.Cut() }
