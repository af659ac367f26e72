package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// What stock clients say first is what the gate takes for it, and what the
// server of the pinned version answers is what the gate passes on: from the third
// of a kind on the answer is there before the call. A browser that gets it works.
func TestWhatClientsSayFirstIsAnsweredInAdvance(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1})
	hellos := func(outcome string) int {
		_, metrics := p.Workers[0].Get("/metrics")
		found := regexp.MustCompile(`(?m)^pwdist_worker_hellos_total\{outcome="` + outcome + `"\} (\d+)$`).FindStringSubmatch(metrics)
		if found == nil {
			return 0
		}
		n, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		return n
	}
	const sessions, least = 8, 3 // so many are answered at least, on whatever machine
	for i := range sessions {
		name := fmt.Sprint("node", i)
		b := harness.Connect(t, p.URL("name="+name))
		title, err := b.OpenPage(t, "http://example.com/").Title()
		require.NoError(t, err)
		require.Equal(t, harness.ExampleTitle, title)
		require.NoError(t, b.Close())
		end := p.Log.AwaitSession(t, name, event.SessionEnded)
		require.Equal(t, event.ReasonClientClosed, end.Session.Reason)
	}
	node := hellos("answered")
	require.GreaterOrEqual(t, node, least)

	python := exec.CommandContext(t.Context(), filepath.Join(harness.Root(), ".tools/python/bin/python"),
		filepath.Join(harness.NodeDir(), "../python/sessions.py"), p.URL("name=python"), fmt.Sprint(sessions))
	python.Stderr = os.Stderr
	require.NoError(t, python.Run())
	require.GreaterOrEqual(t, hellos("answered")-node, least)
}
