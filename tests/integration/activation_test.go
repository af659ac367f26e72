package integration_test

import (
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A proxy that a service manager starts with its listening sockets serves at
// these, first whoever has connected before. While it restarts, clients wait in
// the socket's backlog, and none is refused.
func TestSocketActivation(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{})
	sockets := make([]*net.TCPListener, 2)
	for i := range sockets {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = ln.Close() }()
		sockets[i] = ln.(*net.TCPListener)
	}
	elsewhere := net.JoinHostPort("127.0.0.1", "1") // nobody may listen there
	proxy := p.AddProxyWithSockets(t, sockets[0], sockets[1], harness.Settings{"listen": elsewhere, "admin.listen": elsewhere})
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
