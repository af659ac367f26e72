package integration_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A worker with a lifetime of three sessions leaves after them and a fresh one
// takes its place; clients wait at most.
func TestWorkerIsReplacedAfterItsLifetime(t *testing.T) {
	for name, workers := range map[string]int{"alone": 1, "with a second worker": 2} {
		t.Run(name, func(t *testing.T) {
			p := harness.New(t, harness.Options{
				Workers: workers, Supervise: true,
				Worker: harness.Settings{"lifetime.sessions": "3", "slots": "2"},
			})
			// With two of them one leaves at a time, and the other serves on meanwhile.
			for n := 0; p.Log.Count(event.WorkerLeft) < 2; n++ {
				require.Less(t, n, 100)
				serves(t, p, fmt.Sprintf("client-%d", n))
			}
			served := map[string]int{}
			for _, e := range p.Log.All() {
				require.NotContains(t, []event.Type{event.WorkerLost, event.SessionRejected}, e.Type)
				if e.Type == event.SessionStarted {
					served[e.Session.Worker]++
				}
				if e.Type == event.SessionEnded {
					require.Equal(t, event.ReasonClientClosed, e.Session.Reason)
				}
				if e.Type == event.WorkerLeft {
					require.Equal(t, "lifetime", e.Worker.Reason)
					require.GreaterOrEqual(t, served[e.Worker.ID], 3)
				}
			}
		})
	}
}

// The last session of a lifetime may take as long as it likes: the worker waits
// for it, and who comes meanwhile waits for the next worker.
func TestRetiringWorkerWaitsForItsSessions(t *testing.T) {
	p := harness.New(t, harness.Options{
		Workers: 1, Supervise: true,
		Worker: harness.Settings{"lifetime.sessions": "2", "slots": "2"},
	})
	long := harness.Connect(t, p.URL("name=long"))
	first := p.WorkerID(p.Workers[0])
	serves(t, p, "short")
	p.Log.Await(t, "the worker retires", func(e event.Event) bool { return e.Type == event.WorkerRetiring && e.Worker.ID == first })

	late := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=late"), "http://example.com/")
		late <- err
	}()
	p.Log.AwaitSession(t, "late", event.SessionQueued)
	title, err := long.OpenPage(t, "http://example.com/").Title()
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)
	require.NoError(t, long.Close())
	require.NoError(t, <-late)
	require.NotEqual(t, first, p.Log.AwaitSession(t, "late", event.SessionStarted).Session.Worker)
}
