package faulttable_test

import (
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// browsers are the processes of a worker's browser, its main one first.
func browsers(s *scene, worker int) []harness.Proc {
	s.Helper()
	var main, others []harness.Proc
	for _, p := range s.pool.Workers[worker].Process().Descendants() {
		program, _, _ := strings.Cut(p.Command, " ")
		switch {
		case !strings.Contains(program, "chrom"):
		case strings.Contains(p.Command, " --type="):
			others = append(others, p)
		default:
			main = append(main, p)
		}
	}
	require.NotEmpty(s, main)
	return append(main, others...)
}

var browserRows = []*row{
	{
		name:   "BrowserKilled",
		Row:    faulttable.Row{Fault: "a browser's main process is killed"},
		limits: promised(3*time.Second, 0),
		play: func(s *scene) {
			c := s.connect(0, "victim")
			main := browsers(s, c.worker)[0]
			s.strike(func() { s.must(main.Kill()) })
			v := s.visit(0, "")
			s.lost(c, "its connection closes after %s")
			s.event(noticed, "`worker.unhealthy` after %s", of(event.WorkerUnhealthy))
			s.event(noticed, "`session.ended` (`browser_crashed`) after %s", ended("victim"))
			s.gotPage(v, waiting, "gets a page on another worker after %s")
			s.event(recovered, "`worker.ready` with a new browser after %s", of(event.WorkerReady))
		},
	},
	{
		name: "BrowserHangs",
		Row:  faulttable.Row{Fault: "a browser hangs: all its processes stand still"},
		// See docs/workers.md: 36 s to the next probe, twice its limit with up to six
		// times as long on a machine without CPU to spare, and a second.
		limits: promised((36+2*60+1)*time.Second, 0),
		play: func(s *scene) {
			c := s.connect(0, "victim")
			all := browsers(s, c.worker)
			s.strike(func() {
				for _, p := range all {
					_ = syscall.Kill(p.PID, syscall.SIGSTOP) // a renderer may have ended
				}
			})
			s.gotPage(s.visit(0, ""), waiting, "gets a page in %s, on another worker while that has fewer sessions; else it hangs with the browser until that is noticed")
			s.event(noticed, "`worker.unhealthy` (`browser_hung`) after %s", of(event.WorkerUnhealthy))
			s.lost(c, "hangs; is closed with 1001 and a reason after %s")
			s.event(noticed, "`session.ended` (`browser_hung`) after %s", ended("victim"))
			s.event(recovered, "`worker.ready` with a new browser after %s", of(event.WorkerReady))
		},
	},
}
