package browser

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/probe"
)

const (
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
	// settled is the life after which a crash counts as a first one again.
	settled = 30 * time.Second
	// closeTime is what the server gets to close its browser.
	closeTime = 10 * time.Second
)

// Supervisor runs the server and starts it again when it ends. It is a
// component of package run.
type Supervisor struct {
	o       Options
	node    string
	pw      playwright
	launch  launch
	onState func(State)

	scratch *scratch
	quit    chan struct{} // closed by Stop
	cut     chan struct{} // closed when Stop may wait no longer
	done    chan struct{}
	stop    sync.Once

	mu      sync.Mutex
	current *generation
	count   int
	hung    int // the last generation that was killed because it hung
	hangs   int
}

// generation is one server that was up.
type generation struct {
	Endpoint
	server int           // process id
	over   chan struct{} // closed once everybody has been told that it is down
}

// New finds what is needed. An error means that something has to be installed
// or set: trying again does not help. onState hears of every change, one at a
// time, and must not block.
func New(o Options, onState func(State)) (*Supervisor, error) {
	pw, err := findPlaywright(o.PlaywrightDir)
	if err != nil {
		return nil, err
	}
	node, err := findNode(o.Node)
	if err != nil {
		return nil, err
	}
	l, err := findBrowser(o, pw)
	if err != nil {
		return nil, err
	}
	if l.ffmpeg, err = findFfmpeg(o, pw); err != nil {
		return nil, err
	}
	if o.TempDir == "" {
		o.TempDir = os.TempDir()
	}
	if err := checkConfinement(o); err != nil {
		return nil, err
	}
	return &Supervisor{
		o: o, node: node, pw: pw, launch: l, onState: onState,
		quit: make(chan struct{}), cut: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// Playwright is the full version of playwright-core.
func (s *Supervisor) Playwright() string { return s.pw.version }

// Browser says what is launched: a path, a channel or Playwright's own build.
func (s *Supervisor) Browser() string { return s.launch.String() }

// Starts counts the servers that came up.
func (s *Supervisor) Starts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Hangs counts the servers that were killed because they did no work.
func (s *Supervisor) Hangs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hangs
}

// Hung tells whether the server of this generation was the last that was killed
// because it did no work.
func (s *Supervisor) Hung(generation int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hung == generation
}

// Current returns where the server listens; ok is false while it is down.
func (s *Supervisor) Current() (e Endpoint, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return Endpoint{}, false
	}
	return s.current.Endpoint, true
}

// Over returns a channel that is closed when the server of this generation is
// down, which onState has been told by then.
func (s *Supervisor) Over(generation int) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.Generation == generation {
		return s.current.over
	}
	gone := make(chan struct{})
	close(gone)
	return gone
}

// Name implements run.Component.
func (s *Supervisor) Name() string { return "browser" }

// Start makes the scratch directory and begins to start the server; onState
// tells when it is up.
func (s *Supervisor) Start(context.Context) error {
	var err error
	if s.scratch, err = newScratch(s.o.TempDir, s.o.Log); err != nil {
		close(s.done)
		return err
	}
	s.o.Log.Info("starting the browser", zap.String("browser", s.Browser()), zap.String("playwright", s.pw.version),
		zap.String("videos_by", s.launch.films(s.o, s.pw)))
	go s.supervise()
	return nil
}

// Stop ends server and browser. When ctx ends before they do they are killed.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.stop.Do(func() { close(s.quit) })
	select {
	case <-s.done:
	case <-ctx.Done():
		close(s.cut)
		<-s.done
	}
	return nil
}

func (s *Supervisor) supervise() {
	defer close(s.done)
	defer s.scratch.close()
	wait := firstWait
	for n := 1; ; n++ {
		began := time.Now()
		why, up := s.runOne(n)
		if s.quitting() {
			return
		}
		if up && time.Since(began) >= settled {
			wait = firstWait
		}
		log := s.o.Log.With(zap.String("why", why), zap.Stringer("again_in", wait))
		switch {
		case up && s.Hung(n):
			log.Warn("the browser hung and was killed")
		case up:
			log.Warn("the browser crashed")
		default:
			log.Error("the browser did not start")
		}
		select {
		case <-s.quit:
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastWait)
	}
}

func (s *Supervisor) quitting() bool {
	select {
	case <-s.quit:
		return true
	default:
		return false
	}
}

// runOne starts a server and returns when it has ended: why, and whether it
// was up before.
func (s *Supervisor) runOne(n int) (why string, up bool) {
	dir := s.scratch.child(n)
	defer func() {
		killUsers(dir)
		s.scratch.remove(dir)
		reap()
	}()
	began := time.Now()
	c, err := start(s.o, s.node, s.pw, s.launch, dir, n)
	if err != nil {
		s.onState(State{Why: err.Error()})
		return err.Error(), false
	}
	version, err := s.await(c)
	if err != nil || s.quitting() {
		c.stop(s.cut, closeTime)
		if err != nil {
			why = err.Error()
			s.onState(State{Why: why})
		}
		return why, false
	}
	// The secret path is of no use to anybody else, and pages can read files.
	_ = os.Remove(filepath.Join(dir, configName))
	s.o.Log.Info("the browser is up", zap.String("type", s.o.Type), zap.String("version", version),
		zap.String("playwright", s.pw.version), zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	browser := browserEnd(c.cmd.Process.Pid)
	hung, done := s.probe(c)
	defer done()
	s.up(c, version)

	select {
	case <-c.exited:
		why = c.why()
	case <-browser:
		why = "the browser ended, and with it the Playwright server"
		s.down(State{Why: why}) // first, so that nobody is let in any more
		c.kill()
		return why, true
	case err := <-hung:
		why = "it opens no pages: " + err.Error()
		s.down(State{Why: why, Hung: true}) // first, for the sessions to be told why
		c.kill()
		return why, true
	case <-s.quit:
		why = "the worker is stopping"
		c.stop(s.cut, closeTime)
	}
	s.down(State{Why: why})
	return why, true
}

// probe watches a server that is up. The channel gets why it counts as hung;
// done ends the watch.
func (s *Supervisor) probe(c *child) (hung <-chan error, done func()) {
	if s.o.ProbeInterval == 0 {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	verdict, over := make(chan error, 1), make(chan struct{})
	server := c.cmd.Process.Pid
	go func() {
		defer close(over)
		err := probe.Watch(ctx, c.target(), probe.Options{
			Interval: s.o.ProbeInterval, Limit: s.o.ProbeTimeout, PIDs: append(childrenOf(server), server), Log: s.o.Log, Probed: s.o.Probed,
		})
		if err != nil {
			verdict <- err
		}
	}()
	return verdict, func() {
		cancel()
		<-over
	}
}

// target is where a probe connects.
func (e Endpoint) target() probe.Target { return probe.Target{Socket: e.Socket, Path: e.Path} }

// await waits until the server serves.
func (s *Supervisor) await(c *child) (version string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.StartTimeout)
	defer cancel()
	select {
	case <-c.listen:
	case <-c.exited:
		return "", failure(c.why())
	case <-ctx.Done():
		return "", failure("it was not up within " + s.o.StartTimeout.String() + " (browser.start_timeout)")
	case <-s.quit:
		return "", nil
	}
	go func() {
		select {
		case <-s.quit:
			cancel() // a server that hangs from now on
		case <-ctx.Done():
		}
	}()
	version, err = probe.Hello(ctx, c.target())
	if err == nil || s.quitting() {
		return version, nil
	}
	select {
	case <-c.exited:
		return "", failure(c.why()) // rather than what that did to the greeting
	default:
		return "", err
	}
}

type failure string

func (f failure) Error() string { return string(f) }

func (s *Supervisor) up(c *child, version string) {
	s.mu.Lock()
	s.current = &generation{Endpoint: c.Endpoint, server: c.cmd.Process.Pid, over: make(chan struct{})}
	s.count++
	s.mu.Unlock()
	s.onState(State{Up: true, Endpoint: c.Endpoint, BrowserVersion: version})
}

func (s *Supervisor) down(st State) {
	s.mu.Lock()
	old := s.current
	s.current = nil
	if st.Hung {
		s.hung = old.Generation
		s.hangs++
	}
	s.mu.Unlock()
	st.Endpoint = old.Endpoint
	s.onState(st)
	close(old.over)
}
