package integration_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// These tests spend their time waiting, so they run beside each other.

// noticed is the three seconds within which trouble with Redis is noticed, and
// what a machine adds that is busy with other tests.
const noticed = 10 * time.Second

// unreachable waits until all of these say that Redis is the trouble.
func unreachable(t *testing.T, services ...*harness.Service) {
	t.Helper()
	for _, s := range services {
		harness.AwaitWithin(t, noticed, s.Name+" has noticed", func() bool { return !s.Ready() })
	}
}

// front puts a link between Redis and the pool.
func front(t *testing.T) (link func() *faults.Link, via func(string) string) {
	var l *faults.Link
	return func() *faults.Link { return l }, func(redis string) string {
		l = faults.Start(t, redis)
		return l.Address()
	}
}

// visitLater has a client do its work, for as long as that takes.
func visitLater(t *testing.T, url string) (result <-chan error) {
	done := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, url, "http://example.com/")
		done <- err
	}()
	return done
}

// A Redis that takes a quarter of a second for everything makes new sessions slow, and
// nothing else: nobody is given up, and nobody thinks that it is away.
func TestRedisIsSlow(t *testing.T) {
	t.Parallel()
	link, via := front(t)
	p := harness.New(t, harness.Options{Workers: 1, Via: via})
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")
	link().Set(faults.Pass, faults.Delay(250*time.Millisecond))
	serves(t, p, "meanwhile")
	p.Log.AwaitSession(t, "meanwhile", event.SessionEnded)
	works(t, page)
	serves(t, p, "once more")
	p.Proxy().AwaitReady(t)
	p.Workers[0].AwaitReady(t)
	require.NoError(t, link().Heal())
	require.NoError(t, b.Close())
	require.Zero(t, p.Log.Count(event.WorkerLost)+p.Log.Count(event.WorkerSuspect))
}

// Redis is killed and comes back with all that it had. What ended meanwhile is
// told with the time at which it ended, and who waited gets the slot.
func TestRedisComesBackWithItsData(t *testing.T) {
	t.Parallel()
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"slots": "2"}})
	p.Redis.Persist(t)
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")
	leaves := harness.Connect(t, p.URL("name=leaves"))
	p.Log.AwaitSession(t, "leaves", event.SessionStarted)
	waiting := visitLater(t, p.URL("name=waiting"))
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)

	p.Redis.Kill()
	unreachable(t, p.Proxy(), p.Workers[0])
	closing := time.Now()
	require.NoError(t, leaves.Close())
	closed := time.Now()
	works(t, page)
	// Longer than a failed heartbeat, of the worker and of the proxy, which both report it.
	harness.Await(t, "reports have failed", func() bool { return time.Since(closed) > 5*time.Second })
	p.Redis.StartWithData(t)

	require.NoError(t, <-waiting)
	end := p.Log.AwaitSession(t, "leaves", event.SessionEnded)
	require.False(t, end.Happened.IsZero())
	// What a worker knows of Redis' time is off by up to half of what a reply took that told it, 200 ms at most.
	const off = 100 * time.Millisecond
	require.True(t, end.Happened.After(closing.Add(-off)), "ended at %s, before the client closed at %s", end.Happened, closing)
	require.Less(t, end.Happened.Sub(closing), end.At.Sub(closing)/2, "closed at %s, told at %s", closing, end.At)
	works(t, page)
	require.NoError(t, b.Close())
	require.Equal(t, 1, p.Log.Count(event.PoolReset))
	require.Zero(t, p.Log.Count(event.WorkerLost))
	require.Equal(t, 1, p.Log.Count(event.WorkerJoined))
}

// Redis fails over behind one address, in each of the ways in which that goes.
func TestRedisFailsOver(t *testing.T) {
	t.Parallel()
	link, via := front(t)
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"slots": "2"}, Via: via})
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")

	t.Log("planned: the old one lives on as a replica, with its connections")
	p.Redis.StartReplica(t)
	p.Redis.Swap(t)
	link().Lead(p.Redis.Serving())
	serves(t, p, "after the swap")

	t.Log("the old one's host is gone: its connections are silent")
	p.Redis.StartReplica(t)
	holder := harness.Connect(t, p.URL("name=holder"))
	waiting := visitLater(t, p.URL("name=waiting"))
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)
	p.Redis.AwaitReplica(t)
	p.Redis.Freeze(t)
	unreachable(t, p.Proxy(), p.Workers[0])
	p.Redis.Promote(t)
	link().Lead(p.Redis.Serving())
	p.Proxy().AwaitReady(t)
	p.Workers[0].AwaitReady(t)
	require.NoError(t, holder.Close())
	require.NoError(t, <-waiting, "its grant comes by the inbox")

	t.Log("killed, and the replica has not got the last writes")
	p.Redis.StartReplica(t)
	p.Redis.Lag(t)
	unknown := harness.Connect(t, p.URL("name=unknown"))
	other := unknown.OpenPage(t, "http://example.com/")
	before := len(p.Log.All())
	p.Redis.Failover(t)
	link().Lead(p.Redis.Serving())
	p.Log.AwaitAfter(t, before, "the session that was lost is known again", func(e event.Event) bool {
		return e.Type == event.SessionStarted && e.Session.Name == "unknown"
	})
	require.Len(t, p.Snapshot(t).Held[p.WorkerID(p.Workers[0])], 2)
	works(t, other)
	works(t, page)
	require.NoError(t, unknown.Close())
	require.NoError(t, b.Close())
	serves(t, p, "last")
	require.Zero(t, p.Log.Count(event.WorkerLost))
}

// One proxy alone cannot reach Redis, for longer than its lease. Its sessions
// go on, its new clients are told, and the other proxy serves.
func TestOneProxyIsCutOffFromRedis(t *testing.T) {
	t.Parallel()
	link, via := front(t)
	p := harness.NewEmpty(t, harness.Options{Common: harness.ShortLease(), Via: via})
	p.AddProxy(t, nil)
	p.AddProxy(t, harness.Settings{"redis.url": p.Redis.URL})
	p.AddWorker(t, harness.Settings{"redis.url": p.Redis.URL})
	for _, s := range append(p.Workers, p.Proxies...) {
		s.AwaitReady(t)
	}
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")
	leaves := harness.Connect(t, p.URL("name=leaves"))
	p.Log.AwaitSession(t, "leaves", event.SessionStarted)

	require.NoError(t, link().BlackHole())
	cut := time.Now()
	unreachable(t, p.Proxies[0])
	require.True(t, p.Proxies[1].Ready())
	got := harness.Upgrade(t, p.Proxies[0].Address, "/?timeout=1s", "1.65.1", nil).Answer(t)
	require.Equal(t, http.StatusServiceUnavailable, got.Status)
	require.Equal(t, "redis_unavailable", got.Code())
	waiting := visitLater(t, p.URL("name=waiting"))
	_, err := harness.Visit(t, harness.URL(p.Proxies[1], "name=there"), "http://example.com/")
	require.NoError(t, err)
	require.NoError(t, leaves.Close())
	require.Equal(t, event.ReasonClientClosed, p.Log.AwaitSession(t, "leaves", event.SessionEnded).Session.Reason, "its worker tells")
	harness.Await(t, "its lease has run out", func() bool { return time.Since(cut) > 6*time.Second })
	works(t, page)

	require.NoError(t, link().Heal())
	p.Proxies[0].AwaitReady(t)
	require.NoError(t, <-waiting)
	works(t, page)
	require.Empty(t, p.Log.Of("running")[2:], "assigned, started, and nothing since")
	require.NoError(t, b.Close())
}

// One worker alone cannot reach Redis, for longer than its lease. It gets no
// sessions, those it has go on, and what ends is told when it is back.
func TestOneWorkerIsCutOffFromRedis(t *testing.T) {
	t.Parallel()
	link, via := front(t)
	p := harness.NewEmpty(t, harness.Options{Common: harness.ShortLease(), Via: via})
	p.AddProxy(t, harness.Settings{"redis.url": p.Redis.URL})
	p.AddWorker(t, nil)
	p.Proxy().AwaitReady(t)
	p.Workers[0].AwaitReady(t)
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")
	leaves := harness.Connect(t, p.URL("name=leaves"))
	p.Log.AwaitSession(t, "leaves", event.SessionStarted)
	p.AddWorker(t, harness.Settings{"redis.url": p.Redis.URL})
	p.Workers[1].AwaitReady(t)

	require.NoError(t, link().BlackHole())
	unreachable(t, p.Workers[0])
	closing := time.Now()
	require.NoError(t, leaves.Close())
	serves(t, p, "meanwhile")
	require.Equal(t, p.WorkerID(p.Workers[1]), p.Log.AwaitSession(t, "meanwhile", event.SessionStarted).Session.Worker)
	p.Log.Await(t, "its lease has run out", func(e event.Event) bool { return e.Type == event.WorkerLost })
	works(t, page)
	require.Len(t, p.Log.Of("running"), 2, "assigned, started, and nothing since")

	require.NoError(t, link().Heal())
	p.Workers[0].AwaitReady(t)
	works(t, page)
	end := p.Log.AwaitSession(t, "leaves", event.SessionEnded)
	require.Less(t, end.Time().Sub(closing), 3*time.Second, "told at %s", end.At)
	require.NoError(t, b.Close())
	p.Log.AwaitSession(t, "running", event.SessionEnded)
}
