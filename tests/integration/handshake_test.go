package integration_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A handshake that the Playwright server does not take is no matter of versions: the
// client is told what the server says, and the event does not speak of a policy.
func TestServerRefusesTheHandshake(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	got := harness.Request(t, p.Proxy().Address, "/?name=broken", harness.UpgradeHeaders("",
		harness.Headers{"Sec-WebSocket-Protocol": "a,,b"})).Answer(t)
	require.Equal(t, http.StatusBadRequest, got.Status, got.Body)
	require.Equal(t, "server_refused", got.Code())
	require.Contains(t, got.Body, "It answered 400 Bad Request: Invalid Sec-WebSocket-Protocol header.")
	e := p.Log.AwaitSession(t, "broken", event.SessionEnded)
	require.Equal(t, event.ReasonWorkerClosed, e.Session.Reason)
	serves(t, p, "next")
}
