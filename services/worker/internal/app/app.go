// Package app puts the worker together and takes it apart again.
package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/registrar"
	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/run"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

// The checks of readiness.
const (
	checkBrowser = "browser"
	checkRedis   = "redis"
	checkPool    = "pool"
)

// isolation is what every session gets: contexts of its own in a shared browser.
const isolation = "context"

// cutTime is what a stop may take beyond the drain.
const cutTime = 20 * time.Second

// Main runs a worker and returns the exit code of its process.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	cfg, warnings, outcome, err := Load(args, environ, stdout)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "pwdist-worker:", err)
		return 2
	}
	switch outcome {
	case config.Exit:
		return 0
	case config.CheckHealth:
		if err := telemetry.CheckHealth(context.Background(), cfg.Admin); err != nil {
			_, _ = fmt.Fprintln(stderr, "pwdist-worker:", err)
			return 1
		}
		return 0
	}
	log, err := telemetry.NewLogger(cfg.Log, "worker")
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "pwdist-worker:", err)
		return 2
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	if err := serve(cfg, environ, log); err != nil {
		log.Error(err.Error())
		return 1
	}
	return 0
}

type worker struct {
	id     string
	config Config
	log    *zap.Logger
	health *telemetry.Health
	keys   keys.Pool

	browser   *browser.Supervisor
	gate      *gate.Gate
	registrar *registrar.Registrar
	memory    *memoryWatch
	tidy      *chore
	client    redisx.Client
}

func serve(cfg Config, environ []string, log *zap.Logger) error {
	pool, err := keys.For(cfg.Pool)
	if err != nil {
		return err
	}
	w := &worker{
		id: "w-" + strings.ToLower(rand.Text()[:12]), config: cfg, log: log, keys: pool,
		health: telemetry.NewHealth(checkBrowser, checkRedis, checkPool),
	}
	reg := telemetry.NewRegistry("worker")
	way, err := newEgress(w, reg)
	if err != nil {
		return err
	}
	var egressPort func() int
	if way != nil {
		egressPort = way.Port
	}
	w.browser, err = browser.New(browser.Options{
		Type: cfg.Browser.Type, Executable: cfg.Browser.Executable, Channel: cfg.Browser.Channel, Ffmpeg: cfg.Browser.Ffmpeg, Headless: cfg.Browser.Headless,
		Args: cfg.Browser.Args, Sandbox: cfg.Browser.Sandbox, StartTimeout: cfg.Browser.StartTimeout,
		Node: cfg.Playwright.Node, PlaywrightDir: cfg.Playwright.Dir, Environ: environ, Log: log.Named("browser"),
		ProbeInterval: cfg.Browser.ProbeInterval, ProbeTimeout: cfg.Browser.ProbeTimeout, Probed: probed(reg),
		OwnClipboards: cfg.Guard.Enabled && cfg.Guard.Clipboard == clipboardSession,
		EgressPort:    egressPort, Confine: cfg.Browser.Confine, Files: cfg.Browser.Files,
	}, w.browserChanged)
	if err != nil {
		return err
	}
	rules, err := w.rules()
	if err != nil {
		return err
	}
	w.registrar = w.newRegistrar(reg)
	limit, err := parseBytes(cfg.Browser.MemoryLimit)
	if err != nil {
		return err
	}
	w.memory = newMemoryWatch(limit, w.browser.Memory, w.registrar.Retire, log.Named("memory"))
	w.tidy = newChore(func() { w.browser.Tidy(w.registrar.Oldest) })
	w.gate = gate.New(gate.Options{
		Listen: cfg.Listen, Slots: cfg.Slots, Stall: cfg.Relay.Stall, Log: log.Named("gate"), Metrics: gate.NewMetrics(reg), Guard: rules, Prepare: prepares(cfg.Browser), Wanted: w.registrar.Wanted,
	}, w.browser, w.registrar)
	w.register(reg)

	components := []run.Component{
		telemetry.NewAdmin(cfg.Admin, w.health, reg, log),
		run.Func("port", w.gate.Listen, w.gate.Close),
	}
	if way != nil {
		components = append(components, way)
	}
	components = append(components,
		w.browser,
		run.Func("redis", w.connect, w.disconnect),
		w.gate,
		run.Func("memory", w.memory.start, w.memory.stop),
		run.Func("tidy", w.tidy.start, w.tidy.stop),
		w.registrar,
	)
	return run.Run(context.Background(), run.Options{Log: log, StopTimeout: cfg.Drain + cutTime, Done: w.registrar.Done()}, components...)
}

// prepares is what the gate has ready. A page of a browser with a window would be one that
// stands there and takes the focus. Of browsers other than Chromium nobody has seen yet how
// a page that waits behaves.
func prepares(b Browser) string {
	if b.Type != browser.Chromium {
		return gate.PrepareNothing
	}
	if b.Prepare == gate.PreparePage && !b.Headless {
		return gate.PrepareContext
	}
	return b.Prepare
}

// rules are the guard's, for a protocol that has been reviewed.
func (w *worker) rules() (*guard.Rules, error) {
	c := w.config.Guard
	if !c.Enabled {
		w.log.Warn("the guard is off: clients of this worker can reach each other's sessions")
		return nil, nil //nolint:nilnil // no guard is no error
	}
	if v := w.browser.Playwright(); v != guard.Version() && !strings.HasPrefix(v, guard.Version()+".") {
		return nil, fmt.Errorf("the guard knows the protocol of Playwright %s, and this is %s: install that version, or set guard.enabled to false where all clients trust each other",
			guard.Version(), v)
	}
	return guard.New(guard.Options{CDP: c.CDP, ClientProxy: c.ClientProxy == allow}), nil
}

func (w *worker) newRegistrar(reg prometheus.Registerer) *registrar.Registrar {
	failed := promauto.With(reg).NewCounter(prometheus.CounterOpts{
		Name: "pwdist_worker_redis_errors_total",
		Help: "Calls to Redis that failed.",
	})
	c := w.config
	return registrar.New(registrar.Options{
		Worker: state.Worker{
			ID: w.id, Browser: c.Browser.Type, Playwright: w.browser.Playwright(), Isolation: []string{isolation},
			Labels: c.Labels, Slots: c.Slots, Lifetime: lifetime(c.Lifetime.Sessions, c.Lifetime.Jitter),
		},
		Heartbeat: c.Timing.Heartbeat, Drain: c.Drain, Log: w.log.Named("pool").With(zap.String("worker", w.id)),
		Standing: func(ok bool, why string) { w.health.SetReady(checkPool, ok, why) },
		Failed:   failed.Inc,
		Beating: func() {
			w.memory.look()
			w.tidy.call()
		},
	})
}

func (w *worker) browserChanged(s browser.State) {
	w.health.SetReady(checkBrowser, s.Up, s.Why)
	w.registrar.Browser(s)
}

// connect waits for Redis. The membership begins with it.
func (w *worker) connect(ctx context.Context) error {
	client, err := redisx.Connect(ctx, redisx.Options{
		Redis: w.config.Redis, ClientName: "pwdist-worker:" + w.id, SmallBuffers: true, Log: w.log.Named("redis"),
		OnHealth: func(ok bool, why string) {
			w.health.SetReady(checkRedis, ok, why)
			w.registrar.Redis(ok)
		},
	})
	if err != nil {
		return err
	}
	w.client = client
	store, err := state.New(client, w.keys, w.config.options(), w.registrar.Heard)
	if err != nil {
		client.Close()
		return err
	}
	w.registrar.Attach(store, endpoint(ctx, w.config.Advertise, w.gate.Addr(), w.config.Redis.URL))
	return nil
}

func (w *worker) disconnect(context.Context) error {
	w.client.Close()
	return nil
}

func (w *worker) register(reg prometheus.Registerer) {
	f := promauto.With(reg)
	gauge := func(name, help string, value func() int) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: "pwdist_worker_" + name, Help: help}, func() float64 { return float64(value()) })
	}
	gauge("sessions_active", "Sessions that run.", w.registrar.Live)
	gauge("slots", "Sessions that may run at the same time.", func() int { return w.config.Slots })
	gauge("prepared", "Contexts that are open for a session to come, with or without a page: 0 or 1.", w.gate.Prepared)
	gauge("slots_taken", "Slots in use, by sessions that run, open or close.", w.gate.Taken)
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "pwdist_worker_browser_starts_total",
		Help: "Times that the browser came up; each beyond the first is a restart after a crash or a hang.",
	}, func() float64 { return float64(w.browser.Starts()) })
	f.NewCounterFunc(prometheus.CounterOpts{
		Name: "pwdist_worker_browser_hangs_total",
		Help: "Times that the browser was killed because it opened no pages any more.",
	}, func() float64 { return float64(w.browser.Hangs()) })
}
