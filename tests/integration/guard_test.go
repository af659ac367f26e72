package integration_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// guardClient runs a script of clients/node and makes a subtest of each of its
// lines.
func guardClient(t *testing.T, script string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "node", append([]string{script}, args...)...)
	c.Dir, c.Stderr = harness.NodeDir(), os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	last := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct{ Name, Error string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line), lines.Text())
		last = line.Name
		t.Run(line.Name, func(t *testing.T) { require.Empty(t, line.Error) })
	}
	require.NoError(t, c.Wait())
	require.Equal(t, "end", last)
}

// The guard refuses nothing that stays inside a session.
func TestOrdinaryClientsPassTheGuard(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"browser.ffmpeg": harness.Ffmpeg(t)}})
	guardClient(t, "guard.mjs", p.URL("name=ordinary"), "scenarios")
}

// A session cannot see, change or end another one by any call of the protocol,
// also not on the other's objects, and a refused call fails alone (I9).
func TestAttacksFailAtTheGuard(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"browser.ffmpeg": harness.Ffmpeg(t)}})
	guardClient(t, "foreign.mjs", p.URL("name=foreign"), filepath.Join(harness.Root(), "services/worker/internal/guard/protocol.txt"))
	guardClient(t, "guard.mjs", p.URL("name=attack"), "attacks")
	ended := p.Log.Await(t, "the end of the attacker", func(e event.Event) bool {
		return e.Type == event.SessionEnded && e.Session.Reason == event.ReasonPolicy
	})
	require.NotEmpty(t, ended.Session.ID)
}

// Each method of the DevTools protocol that the guard allows is tried with what
// belongs to another session, and all others are refused (I9). A method that
// the attacks do not know fails the test.
func TestCDPSessionsStayInTheirPage(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	guardClient(t, "cdp.mjs", p.URL("name=cdp"), "http://site.localhost",
		filepath.Join(harness.Root(), "services/worker/internal/guard/cdp.txt"),
		filepath.Join(harness.PlaywrightDir(), "node_modules/playwright-core/types/protocol.d.ts"))
}

// Chromium has one clipboard. What a session copies no other one gets at, by keys,
// permissions or the DevTools protocol, while each copies and pastes as it
// would alone (I9).
func TestClipboardsAreTheSessionsOwn(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	guardClient(t, "clipboard.mjs", p.URL("name=clipboard"), "own")
}

// The same ways lead to the other's clipboard where it is shared.
func TestAClipboardCanBeShared(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"guard.clipboard": "share"}})
	guardClient(t, "clipboard.mjs", p.URL("name=clipboard"), "share")
}

// With guard.cdp=refuse a client gets no CDP session, and is told what to use; all
// else goes on.
func TestCDPSessionsCanBeRefusedAltogether(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"guard.cdp": "refuse"}})
	guardClient(t, "nocdp.mjs", p.URL("name=nocdp"))
}

// Messages up to the most that a shared browser takes pass through proxy, gate and
// guard, and larger ones fail alone, while a neighbour works.
func TestLargeMessages(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	guardClient(t, "large.mjs", p.URL("name=large"))
}
