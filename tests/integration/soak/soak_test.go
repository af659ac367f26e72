package soak_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// What `make soak` sets: how long it goes on, such as 10m.
const variableSoak = "PWDIST_SOAK"

// TestSoak has clients of many kinds use a pool in cycles and looks after each,
// when nobody is connected any more, at what processes and Redis hold. From the
// end of the warm-up on nothing may grow.
//
// There are two workers. What is killed (clients, pages, the browser) is killed on
// the rough one; the browser of the calm one stays the same all the time, so that
// what grows in it is not hidden by fresh ones.
func TestSoak(t *testing.T) {
	during := time.Duration(0)
	if text := os.Getenv(variableSoak); text != "" {
		var err error
		during, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	p := harness.New(t, harness.Options{
		// Few records of what has ended, so that their number is at its limit after the warm-up.
		Common: harness.Settings{"ended.max_entries": "10", "log.level": "info"},
		Worker: harness.Settings{"lifetime.sessions": "0"},
	})
	calm, rough := p.AddWorker(t, harness.Settings{"labels": "role=calm"}), p.AddWorker(t, harness.Settings{"labels": "role=rough"})
	for _, w := range p.Workers {
		w.AwaitReady(t)
	}
	s := &soak{t: t, p: p, calm: calm, rough: rough}
	end := time.Now().Add(during)
	for n := 0; n < leastCycles || time.Now().Before(end); n++ {
		s.cycle(n)
	}
	t.Logf("%d cycles, %d sessions, %s\n%s", len(s.taken), s.sessions, reasons(p.Log.All()), s.table())
	s.judge()
	_, metrics := calm.Get("/metrics")
	require.Contains(t, metrics, "\npwdist_worker_browser_starts_total 1\n", "the browser of the calm worker has been the same")
}

// leastCycles is the short form: one to warm up and one to compare with.
const leastCycles = 2

type soak struct {
	t           *testing.T
	p           *harness.Pool
	calm, rough *harness.Service
	sessions    int
	taken       []measures // after each cycle
}

// cycle has clients work, kills the pages' processes or the browser of the rough
// worker under them, waits until nobody is there, and measures.
func (s *soak) cycle(n int) {
	s.t.Helper()
	key := fmt.Sprint("doom-", n)
	what, err := json.Marshal(map[string]string{
		"calm": s.p.URL("require=role%3Dcalm"), "rough": s.p.URL("require=role%3Drough"), "doom": "http://doom.test/hold?key=" + key,
	})
	require.NoError(s.t, err)
	clients := harness.Start(s.t, s.t.TempDir(), harness.Command{
		Name: "clients", Path: "node", Args: []string{"soak.mjs", string(what)}, Dir: harness.NodeDir(), Env: []string{"TMPDIR=" + s.t.TempDir()},
	})
	s.t.Cleanup(clients.Kill)
	s.p.Pages.Held(s.t, key)
	if n%2 == 0 {
		s.kill("--type=renderer")
	} else {
		s.kill("")
	}
	code := clients.ExitCode(s.t, 4*harness.Patience)
	s.p.Pages.Release(key)
	require.Zero(s.t, code, "the clients say:\n%s", clients.Tail())
	var told struct {
		Sessions int `json:"sessions"`
	}
	require.NoError(s.t, json.Unmarshal([]byte(last(clients.Output())), &told))
	s.sessions += told.Sessions
	s.taken = append(s.taken, s.measure())
}

func last(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return lines[len(lines)-1]
}

// kill ends processes of the rough worker's browser: the main one, or all of a
// type.
func (s *soak) kill(kind string) {
	s.t.Helper()
	killed := 0
	for _, d := range s.rough.Process().Descendants() {
		if isBrowser(d) && (kind == "" && isMain(d) || kind != "" && strings.Contains(d.Command, " "+kind+" ")) && d.Kill() == nil {
			killed++
		}
	}
	require.NotZero(s.t, killed, "processes %q of the browser", kind)
}

func isBrowser(d harness.Proc) bool {
	program, _, _ := strings.Cut(d.Command, " ")
	return strings.Contains(program, "chrom")
}

func isMain(d harness.Proc) bool { return !strings.Contains(d.Command, " --type=") }

func reasons(events []event.Event) string {
	count := map[event.Reason]int{}
	for _, e := range events {
		if e.Type == event.SessionEnded {
			count[e.Session.Reason]++
		}
	}
	return fmt.Sprint("ended as ", count)
}
