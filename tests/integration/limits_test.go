package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A client that is forgotten loses its browser, and its slot serves the next one.
func TestAForgottenSessionEnds(t *testing.T) {
	t.Parallel()
	p := harness.New(t, harness.Options{
		Workers: 1, Worker: harness.Settings{"slots": "1"}, Proxy: harness.Settings{"session.idle": "5s"},
	})
	forgotten := inPage(t, p, "forgotten")
	serves(t, p, "next")
	forgotten.AwaitLost(t)
	require.Equal(t, event.ReasonIdleTimeout, p.Log.AwaitSession(t, "forgotten", event.SessionEnded).Session.Reason)
}

// However busy it is, a session lasts no longer than it may.
func TestALongSessionEnds(t *testing.T) {
	t.Parallel()
	p := harness.New(t, harness.Options{Workers: 1, Proxy: harness.Settings{"session.max_duration": "15s"}})
	b := harness.Connect(t, p.URL("name=long"))
	page := b.OpenPage(t, "http://example.com/")
	harness.Await(t, "it is ended", func() bool {
		_, err := page.Title()
		return err != nil
	})
	b.AwaitLost(t)
	require.Equal(t, event.ReasonMaxDuration, p.Log.AwaitSession(t, "long", event.SessionEnded).Session.Reason)
}
