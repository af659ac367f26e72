package faulttable_test

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
)

var linkRows = []*row{
	{
		name: "ProxyWithoutRedis", limits: map[faulttable.Column]time.Duration{noticed: redisLimit},
		Row:  faulttable.Row{Fault: "one proxy of two cannot reach Redis for 30 s"},
		cast: cast{proxies: 2, workers: 1},
		play: func(s *scene) {
			long, short := s.connect(0, "long"), s.connect(0, "short")
			s.strike(func() { s.must(s.proxyRedis[0].BlackHole()) })
			s.when(noticed, "readiness of that proxy is 503 after %s", unready(s.pool.Proxies[0]))
			s.refused(s.visit(0, "timeout=5s"), waiting, "who comes there and waits no longer than 5 s gets 503 (`redis_unavailable`) after %s", "503")
			s.gotPage(s.visit(1, ""), waiting, "the other proxy gives a page in %s")
			v := s.visit(0, "timeout=60s")
			long.works()
			over := time.Now()
			s.must(short.Close())
			end := s.pool.Log.AwaitSession(s, "short", event.SessionEnded)
			require.WithinDuration(s, over, end.Time(), 2*time.Second, "the worker tells it at once")
			s.pass(30 * time.Second)
			long.works()
			s.note(connected, "goes on all the time", 0)
			s.fresh()
			s.must(s.proxyRedis[0].Heal())
			s.when(recovered, "readiness %s after the link is back", ready(s.pool.Proxies[0]))
			s.over(v)
			s.must(v.err)
			s.saw(waiting, "others wait there, and have had their page %s after the link is back")
			s.gotPage(s.visit(0, ""), recovered, "a new client gets a page there in %s")
			long.quit()
		},
	},
	{
		name: "WorkerWithoutRedis",
		Row:  faulttable.Row{Fault: "one worker of two cannot reach Redis for 30 s"},
		play: func(s *scene) {
			long, short := s.connectTo(0, "long", "short")
			w := s.pool.Workers[long.worker]
			s.strike(func() { s.must(s.workerRedis[long.worker].BlackHole()) })
			s.when(noticed, "readiness of that worker is 503 after %s", unready(w))
			one, other, third := s.visit(0, ""), s.visit(0, ""), s.visit(0, "")
			long.works()
			over := time.Now()
			s.must(short.Close())
			for _, v := range []*visitor{one, other, third} {
				s.gotPage(v, waiting, "gets a page on another worker in %s")
			}
			s.event(noticed, "`worker.lost` after %s", of(event.WorkerLost))
			s.pass(30 * time.Second)
			long.works()
			s.note(connected, "goes on all the time", 0)
			s.fresh()
			s.must(s.workerRedis[long.worker].Heal())
			s.when(recovered, "readiness %s after the link is back", ready(w))
			s.event(recovered, "`worker.joined` after %s", of(event.WorkerJoined))
			end := s.pool.Log.AwaitSession(s, "short", event.SessionEnded)
			require.WithinDuration(s, over, end.Time(), 5*time.Second)
			long.quit()
		},
	},
	{
		name: "ProxyWithoutWorker",
		Row:  faulttable.Row{Fault: "a proxy cannot reach one worker of two for 30 s; the worker reaches Redis"},
		play: func(s *scene) {
			c := s.connect(0, "victim")
			s.strike(func() { s.must(s.toWorker[c.worker].Partition()) })
			var all []*visitor
			for range 4 {
				all = append(all, s.visit(0, ""))
			}
			for _, v := range all {
				s.gotPage(v, waiting, "gets a page on another worker in %s")
			}
			s.event(noticed, "`worker.suspect` after %s", of(event.WorkerSuspect))
			s.pass(30 * time.Second)
			s.fresh()
			s.must(s.toWorker[c.worker].Heal())
			c.works()
			s.saw(connected, "waits, and goes on %s after the link is back")
			s.gotPage(s.visit(0, ""), recovered, "a page in %s")
			c.quit()
		},
	},
	{
		name: "SlowToWorker",
		Row:  faulttable.Row{Fault: "packets between proxies and workers take 250 ms longer, either way"},
		cast: one,
		play: func(s *scene) {
			c := s.connect(0, "running")
			s.strike(func() {
				s.links(func(l *faults.Link) error {
					l.Set(faults.Delay(250*time.Millisecond), faults.Delay(250*time.Millisecond))
					return nil
				}, s.toWorker)
			})
			c.works()
			s.saw(connected, "goes on, each answer that much later: a step of a page in %s")
			s.gotPage(s.visit(0, ""), waiting, "gets a page in %s")
			s.pass(outage)
			c.works()
			s.note(noticed, "readiness stays 200, nobody is suspect", 0)
			if !ready(append(s.pool.Proxies, s.pool.Workers...)...)() {
				s.Error("somebody is not ready")
			}
			if n := s.pool.Log.Count(event.WorkerLost) + s.pool.Log.Count(event.WorkerSuspect); n > 0 {
				s.Errorf("%d times a worker was taken for lost or suspect", n)
			}
			s.fresh()
			s.links(heal, s.toWorker)
			s.gotPage(s.visit(0, ""), recovered, "at once: a page in %s")
			c.quit()
		},
	},
	{
		name: "ClientGone",
		Row:  faulttable.Row{Fault: "a client is gone without a word: no packet from or to it arrives"},
		cast: cast{workers: 1, worker: oneSlot},
		play: func(s *scene) {
			c := s.connect(0, "gone")
			s.strike(func() { s.must(s.toProxy[0].Partition()) })
			s.event(noticed, "`session.ended` (`client_closed`) after %s", ended("gone"))
			s.when(recovered, "its slot is free after %s", not(held(s)))
			s.note(connected, "–", 0)
			s.must(s.toProxy[0].Heal())
			s.gotPage(s.visit(0, ""), recovered, "a new client gets a page in %s")
			s.lost(c, "–")
		},
		limits: promised(120*time.Second+5*time.Second, 0),
	},
}

// connectTo opens two sessions on the same worker.
func (s *scene) connectTo(proxy int, name, other string) (one, two *client) {
	s.Helper()
	one = s.connect(proxy, name)
	filler := s.connect(proxy, "filler")
	two = s.connect(proxy, other)
	if two.worker != one.worker {
		// The filler is on the other one: with it gone that is the emptier.
		s.Fatalf("%s is on worker %d, %s on %d, the filler on %d", name, one.worker, other, two.worker, filler.worker)
	}
	filler.quit()
	return one, two
}
