package faulttable_test

import (
	"time"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
)

const (
	// redisLimit is within how long trouble with Redis is noticed, and what a
	// busy machine adds.
	redisLimit = 3*time.Second + 500*time.Millisecond
	// outage is how long Redis is away: longer than any lease.
	outage = 20 * time.Second
)

// one worker is enough where it is about Redis.
var one = cast{workers: 1}

// outageRow is a fault that takes Redis away from everybody, and how it is over.
func outageRow(name, fault string, strike func(*scene), restore func(*scene)) *row {
	return &row{
		name: name, Row: faulttable.Row{Fault: fault}, cast: one, limits: map[faulttable.Column]time.Duration{noticed: redisLimit},
		play: func(s *scene) { s.outage(strike, restore, "503", "`redis_unavailable`") },
	}
}

// outage plays one. Who is refused meanwhile is told what, of which the table says
// how it is told.
func (s *scene) outage(strike, restore func(*scene), what, how string) {
	s.Helper()
	long, short := s.connect(0, "long"), s.connect(0, "short")
	s.strike(func() { strike(s) })
	s.when(noticed, "readiness of all proxies and workers is 503 after %s", unready(append(s.pool.Proxies, s.pool.Workers...)...))
	impatient := s.visit(0, "timeout=5s")
	patient := s.visit(0, "timeout=60s")
	long.works()
	closing := time.Now()
	s.must(short.Close()) // its end is told later
	closed := time.Now()
	s.refused(impatient, waiting, "who waits no longer than 5 s gets 503 ("+how+") after %s", what)
	s.pass(outage)
	long.works()
	s.fresh()
	restore(s)
	s.when(recovered, "readiness %s after Redis is back", ready(append(s.pool.Proxies, s.pool.Workers...)...))
	s.over(patient)
	s.must(patient.err)
	s.saw(waiting, "others wait, and have had their page %s after Redis is back")
	s.gotPage(s.visit(0, ""), recovered, "a new client gets a page in %s")
	end := s.event(recovered, "`session.ended` of what ended meanwhile after %s, with its time in `happened`", ended("short"))
	if at := end.Time(); at.Before(closing.Add(-time.Second)) || at.After(closed.Add(3*time.Second)) {
		s.Errorf("the session that ended between %s and %s is said to have ended at %s, told at %s", closing, closed, at, end.At)
	}
	long.works()
	s.note(connected, "goes on all the time", 0)
	long.quit()
}

// all are the links to Redis.
func (s *scene) redisLinks(do func(*faults.Link) error) {
	s.Helper()
	s.links(do, s.proxyRedis, s.workerRedis)
}

// lead has everybody find another Redis at the same address. Connections to the
// one before stay.
func (s *scene) lead() {
	s.Helper()
	s.redisLinks(func(l *faults.Link) error { l.Lead(s.pool.Redis.Serving()); return nil })
}

var redisRows = []*row{
	outageRow("RedisFrozen", "Redis stands still (`kill -STOP`) for 20 s",
		func(s *scene) {
			s.pool.Redis.Freeze(s)
			s.Cleanup(func() { s.pool.Redis.Thaw(s) })
		},
		func(s *scene) { s.pool.Redis.Thaw(s) }),
	outageRow("RedisBlackHole", "Redis cannot be reached for 20 s: connections are silent",
		func(s *scene) { s.redisLinks(blackHole) },
		func(s *scene) { s.redisLinks(heal) }),
	outageRow("RedisRefused", "Redis cannot be reached for 20 s: connections are refused",
		func(s *scene) { s.redisLinks(cut) },
		func(s *scene) { s.redisLinks(heal) }),
	outageRow("RedisRestartsWithData", "Redis is killed and comes back after 20 s with its data",
		func(s *scene) { s.pool.Redis.Persist(s); s.fresh(); s.pool.Redis.Kill() },
		func(s *scene) { s.pool.Redis.StartWithData(s) }),
	outageRow("RedisRestartsEmpty", "Redis is killed and comes back after 20 s empty",
		func(s *scene) { s.pool.Redis.Kill() },
		func(s *scene) { s.pool.Redis.Start(s) }),
	{
		name: "RedisSlow", cast: one,
		Row: faulttable.Row{Fault: "Redis takes 500 ms for each answer"},
		play: func(s *scene) {
			c := s.connect(0, "running")
			s.strike(func() {
				s.redisLinks(func(l *faults.Link) error { l.Set(faults.Pass, faults.Delay(500*time.Millisecond)); return nil })
			})
			c.works()
			s.gotPage(s.visit(0, ""), waiting, "gets a page in %s")
			s.pass(outage)
			s.note(noticed, "readiness stays 200", 0)
			if !ready(append(s.pool.Proxies, s.pool.Workers...)...)() {
				s.Error("somebody believes Redis to be away")
			}
			c.works()
			s.note(connected, "goes on as fast as before", 0)
			s.fresh()
			s.redisLinks(heal)
			s.gotPage(s.visit(0, ""), recovered, "at once: a page in %s")
			c.quit()
			if n := s.pool.Log.Count(event.WorkerLost) + s.pool.Log.Count(event.WorkerSuspect); n > 0 {
				s.Errorf("%d times a worker was taken for lost or suspect", n)
			}
		},
	},
	{
		name: "RedisFailsOver", cast: one, limits: map[faulttable.Column]time.Duration{noticed: redisLimit},
		Row: faulttable.Row{Fault: "Redis is killed, and a replica takes over after 5 s, at the same address"},
		play: func(s *scene) {
			s.pool.Redis.StartReplica(s)
			s.failover(func() { s.pool.Redis.Kill() }, func() {
				s.pool.Redis.Promote(s)
				s.lead()
			})
		},
	},
	{
		name: "RedisHostFailsOver", cast: one, limits: map[faulttable.Column]time.Duration{noticed: redisLimit},
		Row: faulttable.Row{Fault: "Redis' host is gone, and a replica takes over after 5 s, at the same address; connections to the old one stay silent"},
		play: func(s *scene) {
			s.pool.Redis.StartReplica(s)
			s.failover(func() { s.pool.Redis.Freeze(s) }, func() {
				s.pool.Redis.Promote(s)
				s.lead()
			})
		},
	},
	{
		name: "RedisDemoted", cast: one,
		Row: faulttable.Row{Fault: "Redis is made a replica of its replica, which takes over at the same address; connections to the old one stay"},
		play: func(s *scene) {
			s.pool.Redis.StartReplica(s)
			c := s.connect(0, "running")
			s.strike(func() {
				s.pool.Redis.Swap(s)
				s.lead()
			})
			c.works()
			s.gotPage(s.visit(0, ""), waiting, "gets a page after %s")
			s.gotPage(s.visit(0, ""), recovered, "then a page in %s")
			c.works()
			s.note(connected, "goes on all the time", 0)
			c.quit()
			s.when(recovered, "all are ready after %s", ready(append(s.pool.Proxies, s.pool.Workers...)...))
		},
	},
}

// failover is an outage that a replica ends.
func (s *scene) failover(strike, takeOver func()) {
	s.Helper()
	c := s.connect(0, "running")
	s.strike(strike)
	s.when(noticed, "readiness of all proxies and workers is 503 after %s", unready(append(s.pool.Proxies, s.pool.Workers...)...))
	v := s.visit(0, "")
	c.works()
	s.pass(5 * time.Second)
	s.fresh()
	takeOver()
	s.when(recovered, "readiness %s after the replica has taken over", ready(append(s.pool.Proxies, s.pool.Workers...)...))
	s.over(v)
	s.must(v.err)
	s.saw(waiting, "waits, and has had its page %s after that")
	s.gotPage(s.visit(0, ""), recovered, "a new client gets a page in %s")
	c.works()
	s.note(connected, "goes on all the time", 0)
	c.quit()
}
