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
		Common: harness.Settings{"ended.max_entries": "20", "log.level": "info"},
		Worker: harness.Settings{"lifetime.sessions": "0", "browser.probe_interval": "2s"},
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
}

// leastCycles is the short form: one to warm up and two to compare.
const leastCycles = 3

type soak struct {
	t           *testing.T
	p           *harness.Pool
	calm, rough *harness.Service
	sessions    int
	taken       []measures // after each cycle
}

// cycle has clients work, kills a page's process or the browser of the rough
// worker under them, waits until nobody is there, and measures.
func (s *soak) cycle(n int) {
	s.t.Helper()
	before := len(s.p.Log.All())
	what, err := json.Marshal(map[string]any{"calm": s.p.URL("require=role%3Dcalm"), "rough": s.p.URL("require=role%3Drough"), "rounds": 1})
	require.NoError(s.t, err)
	clients := harness.Start(s.t, s.t.TempDir(), harness.Command{
		Name: "clients", Path: "node", Args: []string{"soak.mjs", string(what)}, Dir: harness.NodeDir(), Env: []string{"TMPDIR=" + s.t.TempDir()},
	})
	s.t.Cleanup(clients.Kill)
	s.p.Log.AwaitAfter(s.t, before, "the doomed session has started", func(e event.Event) bool {
		return e.Type == event.SessionStarted && e.Session.Name == "doomed"
	})
	doom := func() bool { return s.kill("--type=renderer") }
	if n%2 == 1 {
		doom = func() bool { return s.kill("") }
	}
	over := false
	harness.Await(s.t, "there is something to kill", func() bool {
		over = !clients.Running()
		return over || doom()
	})
	// A page that was killed need not be the one of the doomed session.
	harness.AwaitWithin(s.t, 4*harness.Patience, "the clients have finished", func() bool {
		if clients.Running() && n%2 == 0 && !s.ended(before, "doomed") {
			s.kill("--type=renderer")
		}
		return !clients.Running()
	})
	require.Zero(s.t, clients.ExitCode(s.t, harness.Patience), "the clients say:\n%s", clients.Tail())
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

// kill ends a process of the rough worker's browser: the main one, or the latest
// of a type.
func (s *soak) kill(kind string) bool {
	var victim *harness.Proc
	for _, d := range s.rough.Process().Descendants() {
		program, _, _ := strings.Cut(d.Command, " ")
		main := !strings.Contains(d.Command, " --type=")
		if strings.Contains(program, "chrom") && (kind == "" && main || kind != "" && strings.Contains(d.Command, " "+kind+" ")) {
			if victim == nil || d.PID > victim.PID {
				victim = new(d)
			}
		}
	}
	return victim != nil && victim.Kill() == nil
}

func (s *soak) ended(after int, name string) bool {
	for _, e := range s.p.Log.All()[after:] {
		if e.Type == event.SessionEnded && e.Session.Name == name {
			return true
		}
	}
	return false
}

func reasons(events []event.Event) string {
	count := map[event.Reason]int{}
	for _, e := range events {
		if e.Type == event.SessionEnded {
			count[e.Session.Reason]++
		}
	}
	return fmt.Sprint("ended as ", count)
}
