package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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
	counted := func(what, outcome string) int {
		_, metrics := p.Workers[0].Get("/metrics")
		found := regexp.MustCompile(`(?m)^pwdist_worker_` + what + `_total\{outcome="` + outcome + `"\} (\d+)$`).FindStringSubmatch(metrics)
		if found == nil {
			return 0
		}
		n, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		return n
	}
	hellos := func(outcome string) int { return counted("hellos", outcome) }
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

// A page that is ready is what a page opened on demand is, and who goes on in another
// way finds nothing of it.
func TestAPreparedPageIsLikeAnyOther(t *testing.T) {
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"lifetime.sessions": "0"}})
	client := exec.CommandContext(t.Context(), "node", "prepared.mjs", p.URL(""), "http://"+p.Workers[0].Admin+"/metrics")
	client.Dir, client.Stderr = harness.NodeDir(), os.Stderr
	out, err := client.Output()
	require.NoError(t, err)
	type outcome struct{ Used, Unused int }
	got := map[string]outcome{}
	for line := range strings.Lines(string(out)) {
		var c struct {
			Name string `json:"name"`
			outcome
		}
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		got[c.Name] = c.outcome
	}
	used, unused := outcome{Used: 1}, outcome{Unused: 1}
	require.Equal(t, map[string]outcome{
		"usual": used, "the same by one call": used, "events": used, "a page that is idle": used, "a client that takes its time": used,
		"trace": unused, "HAR": unused, "what is set before the page": unused, "other options": unused, "a context without a page": unused,
	}, got)
}
