package integration_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// memory bounds what a pool's Redis may use. With 1 it refuses all writes.
func memory(t *testing.T, p *harness.Pool, limit string) {
	t.Helper()
	c := p.Redis.Client
	require.NoError(t, c.Do(context.Background(), c.B().Arbitrary("CONFIG", "SET", "maxmemory", limit).Build()).Error())
}

// says tells whether a service is not ready, for this reason.
func says(s *harness.Service, why string) bool {
	status, body := s.Get("/readyz")
	return status == http.StatusServiceUnavailable && strings.Contains(body, why)
}

// A Redis that answers and takes no writes, because its memory is full: everybody
// says so, clients hear what to do, sessions go on, and what ended meanwhile is
// told when writes work again.
func TestRedisRefusesWrites(t *testing.T) {
	t.Parallel()
	const why = "Redis refuses writes: it is out of memory"
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"slots": "2"}})
	long := harness.Connect(t, p.URL("name=long"))
	page := long.OpenPage(t, "http://example.com/")
	short := harness.Connect(t, p.URL("name=short"))
	waits := harness.Upgrade(t, p.Proxy().Address, "/?name=waits&timeout=8s", "1.65.1", nil)
	stays := visitLater(t, p.URL("name=stays&timeout=60s"))
	p.Log.AwaitSession(t, "waits", event.SessionQueued)
	p.Log.AwaitSession(t, "stays", event.SessionQueued)

	memory(t, p, "1")
	t.Cleanup(func() { memory(t, p, "0") })
	for _, s := range []*harness.Service{p.Proxy(), p.Workers[0]} {
		harness.AwaitWithin(t, noticed, s.Name+" says why it is not ready", func() bool { return says(s, "it is out of memory (maxmemory); raise maxmemory") })
	}
	for name, got := range map[string]harness.Answer{
		"who waited": waits.Answer(t),
		"who comes":  harness.Upgrade(t, p.Proxy().Address, "/?timeout=200ms", "1.65.1", nil).Answer(t),
	} {
		require.Equal(t, http.StatusServiceUnavailable, got.Status, name)
		require.Equal(t, "redis_unavailable", got.Code(), name)
		require.Contains(t, got.Body, why, name)
		require.NotEmpty(t, got.Header.Get("Retry-After"), name)
	}
	works(t, page)
	closing := time.Now()
	require.NoError(t, short.Close())
	closed := time.Now()
	works(t, page)

	memory(t, p, "0")
	p.Proxy().AwaitReady(t)
	p.Workers[0].AwaitReady(t)
	require.NoError(t, <-stays)
	ended := p.Log.AwaitSession(t, "short", event.SessionEnded)
	require.Equal(t, event.ReasonClientClosed, ended.Session.Reason)
	require.WithinRange(t, ended.Time(), closing.Add(-time.Second), closed.Add(3*time.Second))
	// The pool could not be told that this one has left. It may have been first.
	p.Log.Await(t, "who was refused has no place any more", func(e event.Event) bool {
		return (e.Type == event.SessionRejected || e.Type == event.SessionEnded) && e.Session.Name == "waits"
	})
	works(t, page)
	require.NoError(t, long.Close())
	p.Log.AwaitSession(t, "long", event.SessionEnded)
}
