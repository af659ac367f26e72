package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
)

// standInBrowser is what stand-ins say they are. Real workers in the same pool
// run another browser.
const standInBrowser = "webkit"

// queueWait is how long the pool lets a client wait.
const queueWait = 4 * time.Second

// world is a pool whose every link can be broken.
type world struct {
	*harness.Pool

	tb    testing.TB
	size  size
	begin time.Time

	proxies, workers []*unit
	links            map[target]*faults.Link
	homes            map[string]int // a worker's Playwright folder → which worker

	mu     sync.Mutex
	struck []struck
}

// struck is a strike that took place.
type struck struct {
	strike
	from, till time.Time
}

func newWorld(tb testing.TB, s size) *world {
	tb.Helper()
	w := &world{tb: tb, size: s, links: map[target]*faults.Link{}, homes: map[string]int{}}
	// Before the pool's own cleanup is registered, which needs the links.
	tb.Cleanup(func() {
		for _, l := range w.links {
			l.Close()
		}
	})
	w.Pool = harness.NewEmpty(tb, harness.Options{Common: harness.Settings{
		"log.level": "info", "drain": "2s",
		"timing.process_lease": s.processLease.String(), "timing.start_lease": s.startLease.String(),
	}})
	w.Redis.Persist(tb)
	self, err := os.Executable()
	require.NoError(tb, err)
	dir := tb.TempDir()
	for i := range s.proxies {
		s := w.AddProxy(tb, harness.Settings{
			"redis.url": w.toRedis("proxy–redis", i), "queue.wait": queueWait.String(),
		})
		w.proxies = append(w.proxies, supervise(tb, s, false))
	}
	for i := range s.workers {
		w.addStandIn(i, filepath.Join(dir, fmt.Sprintf("worker%d", i+1)), self)
	}
	for range s.real {
		w.addWorker(harness.Settings{"slots": "3", "lifetime.sessions": "0"})
	}
	for _, u := range w.units() {
		u.AwaitReady(tb)
	}
	return w
}

// addStandIn adds a worker before a stand-in for Playwright, which gets a folder.
func (w *world) addStandIn(n int, folder, program string) {
	require.NoError(w.tb, standin.WritePlaywright(folder, program))
	w.homes[filepath.Join(folder, "node_modules", "playwright-core")] = n
	lifetime := 0
	if n == w.size.workers-1 {
		lifetime = 5 * w.size.slots
	}
	w.addWorker(harness.Settings{
		"slots": strconv.Itoa(w.size.slots), "lifetime.sessions": strconv.Itoa(lifetime),
		"browser.type": standInBrowser, "browser.executable": program, "playwright.dir": folder,
		// It echoes: it can open no page of a probe, and what it is sent is not Playwright's protocol.
		"browser.probe_interval": "0", "guard.enabled": "false",
	})
}

func (w *world) addWorker(more harness.Settings) {
	n, at := len(w.workers), fmt.Sprintf("127.0.0.1:%d", harness.Port(w.tb))
	more["redis.url"] = w.toRedis("worker–redis", n)
	more["listen"], more["advertise"] = at, w.link(target{"–worker", n}, at)
	w.workers = append(w.workers, supervise(w.tb, w.AddWorker(w.tb, more), more["lifetime.sessions"] != "0"))
}

func (w *world) units() []*unit { return append(append([]*unit{}, w.proxies...), w.workers...) }

func (w *world) link(to target, address string) string {
	l, err := faults.Open(address)
	require.NoError(w.tb, err)
	w.links[to] = l
	return l.Address()
}

func (w *world) toRedis(what string, n int) string {
	return "redis://" + w.link(target{what, n}, w.Redis.Address) + "/0"
}

// play carries out a plan and returns when all is healed. What strikes one
// target does so in turn; on a machine that is too slow for that, what would
// begin after the plan's time is left out.
func (w *world) play(p plan, during time.Duration) {
	w.begin = time.Now()
	turns := map[target]plan{}
	for _, s := range p {
		turns[s.target] = append(turns[s.target], s)
	}
	var all sync.WaitGroup
	for _, turn := range turns {
		all.Go(func() {
			for _, s := range turn {
				wait := time.NewTimer(time.Until(w.begin.Add(s.at)))
				<-wait.C
				if time.Since(w.begin) > during {
					return
				}
				from := time.Now()
				w.strike(s)
				all.Go(func() { w.note(struck{s, from, time.Now()}) })
			}
		})
	}
	all.Wait()
}

// note writes down a strike when what it struck is there again.
func (w *world) note(s struck) {
	if s.what == "proxy" {
		// One that starts takes clients only when it has reached Redis, which is struck as well.
		at := w.proxies[s.n].Address
		harness.AwaitWithin(w.tb, 10*harness.Patience, s.target.String()+" listens again", func() bool { return harness.Listens(at) })
		s.till = time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.struck = append(w.struck, s)
}

func (w *world) strike(s strike) {
	last := time.NewTimer(s.length)
	defer last.Stop()
	switch s.what {
	case "redis":
		w.strikeRedis(s.fault, last.C)
	case "proxy":
		w.strikeUnit(w.proxies[s.n], s.fault, last.C)
	case "worker":
		w.strikeUnit(w.workers[s.n], s.fault, last.C)
	default:
		w.strikeLink(w.links[s.target], s.fault, last.C)
	}
}

func (w *world) strikeRedis(f fault, last <-chan time.Time) {
	r := w.Redis
	switch f {
	case redisFreeze:
		r.Freeze(w.tb)
		<-last
		r.Thaw(w.tb)
		return
	case redisStop:
		r.Stop(w.tb)
	default:
		r.Kill()
	}
	<-last
	if f != redisEmpty {
		r.StartWithData(w.tb)
		return
	}
	r.Start(w.tb)
	r.Persist(w.tb)
}

func (w *world) strikeUnit(u *unit, f fault, last <-chan time.Time) {
	switch f {
	case kill:
		p, up := u.down()
		defer up()
		p.Kill()
		<-last
	case terminate:
		u.terminateNow()
	case stop:
		p := u.Process()
		p.Signal(w.tb, syscall.SIGSTOP)
		<-last
		p.Signal(w.tb, syscall.SIGCONT)
	case killBrowser:
		if p, ok := u.browser(); ok {
			_ = p.Kill() // it may just have ended
		}
	case stopBrowser:
		if p, ok := u.browser(); ok && syscall.Kill(p.PID, syscall.SIGSTOP) == nil {
			<-last
			if p.Alive() {
				_ = syscall.Kill(p.PID, syscall.SIGCONT)
			}
		}
	}
}

func (w *world) strikeLink(l *faults.Link, f fault, last <-chan time.Time) {
	var err error
	switch f {
	case cut:
		err = l.Cut()
	case reset:
		l.Reset()
		return
	case blackHole:
		err = l.BlackHole()
	case partition:
		err = l.Partition()
	case delay:
		l.Set(faults.Delay(80*time.Millisecond), faults.Delay(80*time.Millisecond))
	case throttle:
		l.Set(faults.Throttle(20_000), faults.Throttle(20_000))
	case holdUp:
		l.Set(faults.Hold, faults.Pass)
	case holdDown:
		l.Set(faults.Pass, faults.Hold)
	case shutUp:
		l.Set(faults.Shut, faults.Pass)
	case shutDown:
		l.Set(faults.Pass, faults.Shut)
	}
	if err != nil {
		w.tb.Error(err)
	}
	<-last
	if err := l.Heal(); err != nil {
		w.tb.Error(err)
	}
}

// settle returns when everything runs and has found its way to Redis again.
func (w *world) settle() {
	w.tb.Helper()
	for _, u := range w.units() {
		harness.Await(w.tb, u.Name+" is ready again", u.Ready)
	}
}

// release ends the supervision and lists processes that ended on their own.
func (w *world) release() (odd []string) {
	for _, u := range w.units() {
		u.release()
		odd = append(odd, u.odd...)
	}
	return odd
}
