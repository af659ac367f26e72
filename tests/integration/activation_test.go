package integration_test

import (
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A proxy that a service manager starts with its listening sockets serves at
// these, first whoever has connected before. While it restarts, clients wait in
// the socket's backlog, and none is refused.
func TestSocketActivation(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{})
	proxy := activated(t, p)
	for range 2 {
		early := harness.Request(t, proxy.Address, "/json", nil)
		proxy.Start(t)
		require.Equal(t, http.StatusOK, early.Answer(t).Status)
		proxy.AwaitReady(t)
		proxy.Process().Signal(t, syscall.SIGTERM)
		require.Zero(t, proxy.Process().ExitCode(t, harness.Patience))
	}
	proxy.Start(t)
	proxy.AwaitReady(t)
}

// Whoever is in the process that stops gets a session there, be it in line or about to
// ask, and whoever comes meanwhile gets one in the next process.
func TestSocketActivationServesWhoWaits(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{Worker: harness.Settings{"slots": "1"}})
	proxy := activated(t, p)
	proxy.Start(t)
	proxy.AwaitReady(t)
	p.AddWorker(t, nil).AwaitReady(t)
	ask := func(name string) *harness.Raw {
		return harness.Upgrade(t, proxy.Address, "/?name="+name, "1.65.1", nil)
	}
	running := ask("running")
	require.Equal(t, http.StatusSwitchingProtocols, running.Answer(t).Status)
	// Accepted before the next one, and silent until the stop.
	late := harness.Dial(t, proxy.Address)
	waiting := ask("waiting")
	p.Log.AwaitSession(t, "waiting", event.SessionQueued)

	proxy.Process().Signal(t, syscall.SIGTERM)
	harness.Await(t, "the proxy is not ready any more", func() bool { return !proxy.Ready() })
	late.Ask(t, "/?name=late", harness.UpgradeHeaders("1.65.1", nil))
	p.Log.AwaitSession(t, "late", event.SessionQueued)
	for _, c := range []*harness.Raw{waiting, late} {
		require.NoError(t, running.Close())
		require.Equal(t, http.StatusSwitchingProtocols, c.Answer(t).Status)
		running = c
	}
	next := ask("next")
	require.NoError(t, running.Close())
	require.Zero(t, proxy.Process().ExitCode(t, harness.Patience))
	proxy.Start(t)
	require.Equal(t, http.StatusSwitchingProtocols, next.Answer(t).Status)
	require.NoError(t, next.Close())
}

// activated is a proxy of the pool that is started with listening sockets.
func activated(t *testing.T, p *harness.Pool) *harness.Service {
	t.Helper()
	sockets := make([]*net.TCPListener, 2)
	for i := range sockets {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = ln.Close() })
		sockets[i] = ln.(*net.TCPListener)
	}
	elsewhere := net.JoinHostPort("127.0.0.1", "1") // nobody may listen there
	return p.AddProxyWithSockets(t, sockets[0], sockets[1], harness.Settings{"listen": elsewhere, "admin.listen": elsewhere})
}
