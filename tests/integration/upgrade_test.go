package integration_test

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A balancer that takes the upgrade out of the Connection header is the operator's
// matter: the client is told so, and no worker is thought bad for it.
func TestBalancerWithoutUpgrade(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	for _, connection := range []string{"-", "close"} {
		got := harness.Upgrade(t, p.Proxy().Address, "/", "1.65.1", harness.Headers{"Connection": connection}).Answer(t)
		require.Equal(t, http.StatusUpgradeRequired, got.Status, got.Body)
		require.Equal(t, "upgrade_required", got.Code())
		require.Contains(t, got.Body, "a balancer")
	}
	serves(t, p, "next")
	require.Zero(t, p.Log.Count(event.WorkerSuspect))
}

// What a gate says about the request it would say anywhere: no other worker is
// tried, and none is suspect.
func TestGateRefusesTheRequest(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{})
	asked := new(atomic.Int32)
	for _, name := range []string{"", "-too"} {
		w := standIn("1.65.1")
		w.ID += name
		w.Endpoint = gateThatSays(t, refusal.New(refusal.UpgradeRequired, ""), asked)
		p.JoinStandIn(t, w)
	}
	p.AddProxy(t, nil).AwaitReady(t)
	got := harness.Upgrade(t, p.Proxy().Address, "/?name=odd", "1.65.1", nil).Answer(t)
	require.Equal(t, http.StatusUpgradeRequired, got.Status, got.Body)
	require.Equal(t, "upgrade_required", got.Code())
	require.Equal(t, event.ReasonWorkerClosed, p.Log.AwaitSession(t, "odd", event.SessionEnded).Session.Reason)
	require.EqualValues(t, 1, asked.Load())
	require.Zero(t, p.Log.Count(event.WorkerSuspect))
	p.LeaveStandIns(t)
}

// gateThatSays answers every connection with a refusal, counts them, and returns its
// address.
func gateThatSays(t *testing.T, no refusal.Refusal, asked *atomic.Int32) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		_ = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			no.Write(w)
		}))
	}()
	return ln.Addr().String()
}
