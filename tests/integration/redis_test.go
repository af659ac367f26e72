package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Redis dies and comes back empty. The session that runs goes on all the time
// (I7), the worker comes back with it, and the client that waited keeps its
// turn; after a moment the log tells the same as the state again (I6).
func TestRedisComesBackEmpty(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"slots": "1"}})
	b := harness.Connect(t, p.URL("name=running&label=team=a"))
	page := b.OpenPage(t, "http://example.com/")
	running := p.Log.AwaitSession(t, "running", event.SessionStarted).Session
	waiting := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=waiting"), "http://example.com/")
		waiting <- err
	}()
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)
	before := len(p.Log.All())

	p.Redis.Kill()
	works(t, page)
	unreachable(t, p.Proxy(), p.Workers[0])
	works(t, page)
	p.Redis.Start(t)
	p.Log.AwaitAfter(t, before, "the log starts anew", func(e event.Event) bool { return e.Type == event.PoolReset })
	back := p.Log.AwaitAfter(t, before, "the running session is known again", func(e event.Event) bool {
		return e.Type == event.SessionStarted && e.Session.ID == running.ID
	})
	require.Equal(t, "running", back.Session.Name)
	require.Equal(t, map[string]string{"team": "a"}, back.Session.Labels)
	require.Equal(t, running.Worker, back.Session.Worker, "the worker came back under its name")
	p.Log.AwaitAfter(t, before, "the waiting client is in the queue again", func(e event.Event) bool {
		return e.Type == event.SessionQueued && e.Session.Name == "waiting"
	})
	require.Len(t, p.Snapshot(t).Held[running.Worker], 1)
	p.CheckNow(t)
	works(t, page)
	p.Proxy().AwaitReady(t)
	p.Workers[0].AwaitReady(t)

	require.NoError(t, b.Close())
	require.NoError(t, <-waiting)
	ended := p.Log.AwaitAfter(t, before, "the running session ended", func(e event.Event) bool {
		return e.Type == event.SessionEnded && e.Session.ID == running.ID
	})
	require.Equal(t, event.ReasonClientClosed, ended.Session.Reason)
}

// A Redis that does not answer for longer than any lease costs running sessions
// nothing, and no process loses its lease by it: nobody could renew one.
func TestRedisFreezes(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Common: harness.ShortLease()})
	b := harness.Connect(t, p.URL("name=running"))
	page := b.OpenPage(t, "http://example.com/")
	leaves := harness.Connect(t, p.URL("name=leaves"))
	p.Log.AwaitSession(t, "leaves", event.SessionStarted)
	p.Redis.Freeze(t)
	thaw := true
	t.Cleanup(func() {
		if thaw {
			p.Redis.Thaw(t)
		}
	})
	unreachable(t, p.Proxy(), p.Workers[0])
	require.NoError(t, leaves.Close())
	closed := time.Now()
	harness.Await(t, "every lease has run out", func() bool { return time.Since(closed) > 5*time.Second })
	works(t, page)
	next := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=next"), "http://example.com/")
		next <- err
	}()
	p.Redis.Thaw(t)
	thaw = false
	require.NoError(t, <-next)
	works(t, page)
	require.NoError(t, b.Close())
	end := p.Log.AwaitSession(t, "leaves", event.SessionEnded)
	require.Less(t, end.Time().Sub(closed), 4*time.Second, "what ended meanwhile is told with its own time, also by a call that waited")
	require.Zero(t, p.Log.Count(event.WorkerLost))
	require.Equal(t, 1, p.Log.Count(event.PoolReset))
	require.NotZero(t, p.Log.Count(event.PoolResumed))
}

func works(t *testing.T, page *harness.Page) {
	t.Helper()
	require.Equal(t, "42", page.Evaluate(t, "6 * 7"))
}
