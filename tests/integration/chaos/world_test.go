package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
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
	turns            map[target]*sync.Mutex

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
	w := &world{tb: tb, size: s, links: map[target]*faults.Link{}, homes: map[string]int{}, turns: map[target]*sync.Mutex{}}
	// Before the pool's own cleanup is registered, which needs the links.
	tb.Cleanup(func() {
		for _, l := range w.links {
			l.Close()
		}
	})
	w.Pool = harness.NewEmpty(tb, harness.Options{Common: harness.Settings{"log.level": "info", "drain": "2s"}})
	w.Redis.Persist(tb)
	for _, to := range s.targets() {
		w.turns[to] = &sync.Mutex{}
	}
	self, err := os.Executable()
	require.NoError(tb, err)
	dir := tb.TempDir()
	for i := range s.proxies {
		s := w.AddProxy(tb, harness.Settings{
			"redis.url": w.toRedis("proxy–redis", i), "queue.wait": queueWait.String(), "dial.timeout": "2s",
		})
		w.proxies = append(w.proxies, supervise(tb, s, false))
	}
	for i := range s.workers {
		playwright := filepath.Join(dir, fmt.Sprintf("worker%d", i+1))
		require.NoError(tb, standin.WritePlaywright(playwright, self))
		home := filepath.Join(playwright, "node_modules", "playwright-core")
		w.homes[home] = i
		port := harness.Port(tb)
		at := fmt.Sprintf("127.0.0.1:%d", port)
		lifetime := "0"
		if i == s.workers-1 {
			lifetime = fmt.Sprint(5 * s.slots)
		}
		s := w.AddWorker(tb, harness.Settings{
			"redis.url": w.toRedis("worker–redis", i), "listen": at, "advertise": w.link(target{"–worker", i}, at),
			"slots": fmt.Sprint(s.slots), "lifetime.sessions": lifetime,
			"browser.type": standInBrowser, "browser.executable": self, "playwright.dir": playwright,
			// It echoes: it can open no page of a probe, and what it is sent is not Playwright's protocol.
			"browser.probe_interval": "0", "guard.enabled": "false",
		})
		w.workers = append(w.workers, supervise(tb, s, lifetime != "0"))
	}
	for _, u := range w.units() {
		u.AwaitReady(tb)
	}
	return w
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

// play carries out a plan and returns when all is healed.
func (w *world) play(p plan) {
	w.begin = time.Now()
	var all sync.WaitGroup
	for _, s := range p {
		wait := time.NewTimer(time.Until(w.begin.Add(s.at)))
		<-wait.C
		// Taken here and not in the goroutine, so that strikes at one target keep
		// their order on a machine that is behind.
		w.turns[s.target].Lock()
		all.Go(func() {
			from := time.Now()
			w.strike(s)
			w.turns[s.target].Unlock()
			if s.what == "proxy" {
				// One that starts takes clients only when it has reached Redis.
				at := w.proxies[s.n].Address
				harness.Await(w.tb, s.target.String()+" listens again", func() bool { return harness.Listens(at) })
			}
			w.mu.Lock()
			w.struck = append(w.struck, struck{s, from, time.Now()})
			w.mu.Unlock()
		})
	}
	all.Wait()
}

func (w *world) strike(s strike) {
	last := time.NewTimer(s.for_)
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
		if p, ok := u.server(); ok {
			_ = p.Kill() // it may just have ended
		}
	case stopBrowser:
		if p, ok := u.server(); ok && syscall.Kill(p.PID, syscall.SIGSTOP) == nil {
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
