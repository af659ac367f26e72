package integration_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// A worker that is the first process of its container inherits what a killed
// browser leaves behind, and nobody else collects it: in time zombies would take
// all process numbers that the container may have.
func TestTheFirstProcessCollectsWhatABrowserLeaves(t *testing.T) {
	p := harness.New(t, harness.Options{})
	w := p.AddWorkerAsFirst(t, nil)
	w.AwaitReady(t)
	pid := w.Process().PID()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^NSpid:\t\d+\t1$`, string(status))

	for n := range 2 {
		victim := inPage(t, p, fmt.Sprintf("victim %d", n))
		killBrowser(t, w.Process().Descendants())
		victim.AwaitLost(t)
		serves(t, p, fmt.Sprintf("next %d", n))
		harness.Await(t, "all that the browser left is collected", func() bool { return len(harness.Zombies(pid)) == 0 })
	}
}
