package integration_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// Whoever reaches a worker's port gets no browser there without an assignment
// of his own: not with an invented session, not with one that has ended, not
// with one that somebody uses (I10).
func TestWorkerRefusesWhoHasNoAssignment(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	worker := p.Workers[0]

	ended := harness.Connect(t, p.URL("name=ended"))
	endedID := p.Log.AwaitSession(t, "ended", event.SessionStarted).Session.ID
	require.NoError(t, ended.Close())
	p.Log.AwaitSession(t, "ended", event.SessionEnded)

	used := harness.Connect(t, p.URL("name=used"))
	usedID := p.Log.AwaitSession(t, "used", event.SessionStarted).Session.ID

	for name, session := range map[string]string{"invented": "0123456789abcdef0123456789abcdef", "ended": endedID, "used": usedID} {
		t.Run(name, func(t *testing.T) {
			got := toGate(t, worker, session, 1)
			require.Equal(t, http.StatusForbidden, got.Status, got.Body)
			require.Equal(t, "no_assignment", got.Code())
			require.Contains(t, got.Body, "Connect to the pool's proxy instead")
		})
	}
	t.Run("wrong attempt", func(t *testing.T) {
		require.Equal(t, http.StatusForbidden, toGate(t, worker, usedID, 2).Status)
	})
	t.Run("no session", func(t *testing.T) {
		got := harness.Upgrade(t, worker.Address, "/", "1.65.1", nil).Answer(t)
		require.GreaterOrEqual(t, got.Status, 400)
		require.Less(t, got.Status, 500)
	})
	t.Run("stock client", func(t *testing.T) {
		_, err := harness.TryConnect(t, "ws://"+worker.Address+"/")
		require.Error(t, err)
		_, err = harness.TryConnect(t, "http://"+worker.Address+"/")
		require.Error(t, err)
	})

	// All that left the session alone which is being used.
	require.True(t, used.Connected())
	title, err := used.OpenPage(t, "http://example.com/").Title()
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)
	require.Len(t, p.Snapshot(t).Held[p.WorkerID(worker)], 1)
}

// toGate asks a worker for a session as a proxy does.
func toGate(t *testing.T, worker *harness.Service, session string, attempt int) harness.Answer {
	t.Helper()
	return harness.Upgrade(t, worker.Address, fmt.Sprintf("/session/%s?attempt=%d", session, attempt), "1.65.1", harness.Headers{
		"x-pwdist-session": session, "x-pwdist-attempt": fmt.Sprint(attempt), "x-pwdist-proxy": "p",
	}).Answer(t)
}
