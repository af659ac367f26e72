package integration_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The Playwright server cannot be reached but through the gate: its socket is
// of no use to a session, the gate's port lets nobody in without an assignment
// of his own, and no process of the browser listens for debuggers (I10).
func TestNoWayAroundTheGate(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	worker := p.Workers[0]
	used := harness.Connect(t, p.URL("name=used"))
	session := p.Log.AwaitSession(t, "used", event.SessionStarted).Session.ID

	// The socket is there and answers who can open it.
	socket := serverSocket(t, worker)
	c, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(harness.Patience)))
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "HTTP/1.1 "), line)
	for dir := filepath.Dir(socket); ; dir = filepath.Dir(dir) {
		about, err := os.Stat(dir)
		require.NoError(t, err)
		if about.Mode().Perm()&0o077 == 0 {
			break // others of the machine do not even come here
		}
		require.NotEqual(t, "/", dir, "everybody can open the socket")
	}

	guardClient(t, "around.mjs", p.URL("name=around"), worker.Address, socket, session)
	require.True(t, used.Connected())

	// While a browser with pages runs.
	used.OpenPage(t, "http://example.com/")
	browsers := 0
	for _, child := range worker.Process().Descendants() {
		require.Empty(t, harness.Listening(child.PID), "%s listens", child)
		require.NotContains(t, child.Command, "--remote-debugging-port=")
		if strings.Contains(child.Command, "--remote-debugging-pipe") {
			browsers++
		}
	}
	require.Positive(t, browsers)
	require.ElementsMatch(t, []string{worker.Address, worker.Admin}, harness.Listening(worker.Process().PID()))
}

// serverSocket is where the Playwright server of a worker listens.
func serverSocket(t *testing.T, worker *harness.Service) string {
	t.Helper()
	for _, child := range worker.Process().Descendants() {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", child.PID)) // it may have gone
		for line := range strings.Lines(string(args)) {
			f := strings.Fields(line)
			if len(f) == 8 && strings.HasSuffix(f[7], "/pw.sock") && harness.HasSocket(child.PID, f[6]) {
				return f[7]
			}
		}
	}
	t.Fatal("the server listens on no socket")
	return ""
}
