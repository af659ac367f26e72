package integration_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Two workers are lost to the pool. Of the one that stands still the client
// hears the end as soon as a ping has gone unanswered for relay.dead, and not
// only when workers are pinged the next time (here after 40 s). The other one is
// only cut off from Redis: it answers, and its session goes on (I7).
func TestSessionsOfWorkersThatAreMissed(t *testing.T) {
	t.Parallel()
	var link *faults.Link
	p := harness.New(t, harness.Options{
		Workers: 1, Common: harness.ShortLease(), Proxy: harness.Settings{"relay.ping": "10s", "relay.dead": "10s"},
		Via: func(redis string) string {
			link = faults.Start(t, redis)
			return redis
		},
	})
	cut := p.AddWorker(t, harness.Settings{"redis.url": "redis://" + link.Address() + "/0", "labels": "role=cut"})
	cut.AwaitReady(t)
	b := harness.Connect(t, p.URL("name=cut&require=role%3Dcut"))
	page := b.OpenPage(t, "http://example.com/")
	require.Equal(t, p.WorkerID(cut), p.Log.AwaitSession(t, "cut", event.SessionStarted).Session.Worker)
	// Last, since it answers no ping before its farewell is read. Its worker is the
	// one without a session.
	raw := harness.Upgrade(t, p.Proxy().Address, "/?name=frozen", "1.65.1", nil)
	require.Equal(t, 101, raw.Answer(t).Status)
	require.Equal(t, p.WorkerID(p.Workers[0]), p.Log.AwaitSession(t, "frozen", event.SessionStarted).Session.Worker)

	require.NoError(t, link.BlackHole())
	frozen := p.Workers[0].Process()
	frozen.Signal(t, syscall.SIGSTOP)
	thaw := func() { frozen.Signal(t, syscall.SIGCONT) }
	t.Cleanup(thaw)
	harness.Await(t, "both are lost", func() bool { return p.Log.Count(event.WorkerLost) == 2 })
	lost := time.Now()

	require.Equal(t, harness.Farewell{
		Code: 1001, Reason: "the worker of this session has stopped answering: connect again", Ended: true,
	}, raw.AwaitFarewell(t))
	// 10 s for the answer, a tick on either side of it, the linger time, and what
	// a busy machine adds.
	require.Less(t, time.Since(lost), 28*time.Second)
	require.Equal(t, event.ReasonWorkerLost, p.Log.AwaitSession(t, "frozen", event.SessionEnded).Session.Reason)

	// The one that is cut off is asked again and again.
	harness.AwaitWithin(t, 2*harness.Patience, "it would have been given up", func() bool { return time.Since(lost) > 28*time.Second })
	works(t, page)
	require.NoError(t, link.Heal())
	thaw()
	harness.Await(t, "both are back", func() bool { return p.Log.Count(event.WorkerJoined) == 4 })
	works(t, page)
	require.NoError(t, b.Close())
}
