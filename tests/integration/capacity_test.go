package integration_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Two workers with five slots each behind two proxies: fifty sessions in a row,
// then twenty at once, of which ten must wait. I1 to I6 from the log, and that
// each session has one assignment, one start and one end.
func TestFiftyInARowAndTwentyAtOnce(t *testing.T) {
	p := harness.New(t, harness.Options{
		Proxies: 2, Workers: 2, Proxy: harness.Settings{"queue.wait": "5m", "queue.max_wait": "5m"},
		Worker: harness.Settings{"slots": "5", "lifetime.sessions": "0"},
	})

	for n := range 50 {
		title, err := harness.Visit(t, p.URL(fmt.Sprintf("name=row-%d", n)), "http://example.com/")
		require.NoError(t, err, "session %d", n)
		require.Equal(t, harness.ExampleTitle, title)
	}

	// All slots are taken before the others come, so that these have to wait.
	holders := make([]*harness.Browser, 10)
	connectAll(t, p, holders, "holder")
	var rest sync.WaitGroup
	for n := range 10 {
		rest.Go(func() {
			url := harness.URL(p.Proxies[n%2], fmt.Sprintf("name=late-%d", n))
			title, err := harness.Visit(t, url, "http://example.com/")
			if err != nil || title != harness.ExampleTitle {
				t.Errorf("late client %d: %q %v", n, title, err)
			}
		})
	}
	harness.Await(t, "ten clients wait", func() bool { return p.Log.Count(event.SessionQueued) == 10 })
	for _, b := range holders {
		require.NoError(t, b.OpenPage(t, "https://example.com/").Close())
		require.NoError(t, b.Close())
	}
	rest.Wait()
	if t.Failed() {
		return
	}

	p.CheckSettled(t)
	s := p.Snapshot(t)
	require.Empty(t, harness.CheckPlacement(s.Events))
	steps := map[string]map[event.Type]int{}
	for _, e := range s.Events {
		if e.Session == nil {
			continue
		}
		if steps[e.Session.ID] == nil {
			steps[e.Session.ID] = map[event.Type]int{}
		}
		steps[e.Session.ID][e.Type]++
		if e.Type == event.SessionEnded {
			require.Equal(t, event.ReasonClientClosed, e.Session.Reason, e.Session.Name)
			require.Positive(t, e.Session.MessagesUp)
			require.Positive(t, e.Session.MessagesDown)
			require.Greater(t, e.Session.BytesUp, e.Session.MessagesUp)
			require.Positive(t, e.Session.Active)
		}
	}
	require.Len(t, steps, 70)
	for id, n := range steps {
		delete(n, event.SessionQueued)
		require.Equal(t, map[event.Type]int{event.SessionAssigned: 1, event.SessionStarted: 1, event.SessionEnded: 1}, n, id)
	}
}

// connectAll connects clients at once.
func connectAll(t *testing.T, p *harness.Pool, browsers []*harness.Browser, name string) {
	t.Helper()
	var all sync.WaitGroup
	for n := range browsers {
		all.Go(func() {
			b, err := harness.TryConnect(t, p.URL(fmt.Sprintf("name=%s-%d", name, n)))
			if err != nil {
				t.Error(err)
			}
			browsers[n] = b
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
