// Package app puts the proxy together and takes it apart again.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/admin"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/admit"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/edge"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/fleet"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/run"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

type proxy struct {
	id      string
	voucher string // by which workers know it
	config  Config
	log     *zap.Logger
	health  *telemetry.Health
	metrics *metrics
	keys    keys.Pool

	client  redisx.Client
	store   *state.Store
	watcher *redisx.Watcher
	fleet   *fleet.Fleet
	admit   *admit.Admitter
	edge    *edge.Edge
	tokens  *tokens.Store // nil when everybody is let in
	// told is the admitter that Redis' health is told to; the connection is
	// there before it.
	told atomic.Pointer[admit.Admitter]

	succession succession
	settled    atomic.Pointer[<-chan struct{}] // set when another process has the sockets

	places     *places
	memory     *memory
	processors *processors
	running    running
	walkers    *walkers
	walks      sync.WaitGroup // clients on their way to a worker
	walksMu    sync.Mutex
	draining   bool // no further walk begins
	tasks      sync.WaitGroup
	cancel     context.CancelFunc
	failed     chan error
}

// The checks of readiness.
const (
	checkRedis  = "redis"
	checkPool   = "pool"
	checkFleet  = "fleet"
	checkAccept = "accepting"
)

// Main runs a proxy and returns the exit code of its process.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "token" {
		return tokens.Command(args[1:], os.Stdin, stdout, stderr)
	}
	cfg, warnings, outcome, err := Load(args, environ, stdout)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "pwdist-proxy:", err)
		return 2
	}
	switch outcome {
	case config.Exit:
		return 0
	case config.CheckHealth:
		if err := telemetry.CheckHealth(context.Background(), cfg.Admin); err != nil {
			_, _ = fmt.Fprintln(stderr, "pwdist-proxy:", err)
			return 1
		}
		return 0
	}
	log, err := telemetry.NewLogger(cfg.Log, "proxy")
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "pwdist-proxy:", err)
		return 2
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if err := serve(cfg, log); err != nil {
		log.Error(err.Error())
		return 1
	}
	return 0
}

// gcPercent lets the heap grow to three times what is in use before it is
// collected. A session that runs takes two kilobytes, so that is little, and
// collecting is what a storm of new sessions would otherwise pay with.
const gcPercent = 200

// cutTime is what a stop may take beyond the drain and what comes before it.
const cutTime = 15 * time.Second

func serve(cfg Config, log *zap.Logger) error {
	pool, err := keys.For(cfg.Pool)
	if err != nil {
		return err
	}
	reg := telemetry.NewRegistry("proxy")
	p := &proxy{
		id: "p-" + admit.NewID()[:12], voucher: rand.Text(), config: cfg, keys: pool, log: log,
		health: telemetry.NewHealth(checkRedis, checkPool, checkFleet, checkAccept), metrics: newMetrics(reg), failed: make(chan error, 1),
	}
	if err := p.openTokens(); err != nil {
		return err
	}
	p.succession.path, p.succession.over = cfg.Handover.Socket, make(chan struct{})
	p.places = newPlaces(log)
	p.memory = newMemory()
	p.processors = newProcessors(cfg.Relay.pollers())
	p.walkers = newWalkers(p.walk)
	port := telemetry.NewAdmin(cfg.Admin, p.health, reg, log)
	return run.Run(context.Background(), run.Options{Log: log, StopTimeout: cfg.DrainDelay + cfg.Drain + cutTime, Done: p.failed},
		run.Func("handover", func(ctx context.Context) error { return p.takeOver(ctx, port) }, p.forsake),
		port,
		run.Func("redis", p.connectRedis, p.closeRedis),
		run.Func("pool", func(ctx context.Context) error {
			if err := p.startPool(ctx); err != nil {
				return err
			}
			reg.MustRegister(newGauges(p))
			api := admin.API{Pool: cfg.Pool, Proxy: p.id, QueueLimit: cfg.Queue.Size, Fleet: p.fleet.Snapshot, Store: p.store, Log: log}
			api.Register(port.Handle)
			return nil
		}, p.stopPool),
		run.Func("edge", p.startEdge, p.drain),
		run.Func("succession", func(ctx context.Context) error { return p.succeed(ctx, port) }, p.withdraw),
	)
}

func (p *proxy) connectRedis(ctx context.Context) error {
	client, err := redisx.Connect(ctx, redisx.Options{
		Redis: p.config.Redis, ClientName: "pwdist-proxy:" + p.id, Log: p.log,
		OnHealth: func(ok bool, why string) {
			p.health.SetReady(checkRedis, ok, why)
			if a := p.told.Load(); a != nil {
				a.SetHealth(ok)
			}
		},
	})
	if err != nil {
		return err
	}
	p.client = client
	return redisx.EnsureNotifications(ctx, client, p.keys.Probe(p.id), p.log)
}

func (p *proxy) closeRedis(context.Context) error {
	p.client.Close()
	return nil
}

// startPool makes the proxy a part of its pool: known by its heartbeat, with
// the fleet read and the inbox open.
func (p *proxy) startPool(ctx context.Context) error {
	store, err := state.New(p.client, p.keys, p.config.options(), p.heard)
	if err != nil {
		return err
	}
	p.store = store
	p.watcher = redisx.NewWatcher(p.client, redisx.DB(p.client), p.keys.WorkerPattern(), p.log)
	p.fleet = fleet.New(store, p.watcher, p.keys, p.log)
	p.fleet.Follow(p.follow)
	p.admit = admit.New(store, admit.Options{
		Proxy: p.id, QueueLimit: p.config.Queue.Size, Heartbeat: p.config.Timing.Heartbeat, Log: p.log,
		RedisError: p.metrics.redisErrors.Inc, Standing: func(ok bool, why string) { p.health.SetReady(checkPool, ok, why) },
		Absent: func(d state.Demand) string { return p.fleet.Snapshot().Absent(d) },
	})
	ro := relay.DefaultOptions()
	ro.Stall, ro.Ping, ro.Dead = p.config.Relay.Stall, p.config.Relay.Ping, p.config.Relay.Dead
	ro.Pipes, ro.Rooms = p.places.pipes, p.places.rooms
	ro.Idle, ro.Longest, ro.Foretell = p.config.Session.Idle, p.config.Session.MaxDuration, p.foretell
	trusted, err := edge.ParseTrusted(p.config.TrustedProxies)
	if err != nil {
		return err
	}
	p.edge = edge.New(edge.Options{
		Listen: p.config.Listen, DefaultBrowser: p.config.DefaultBrowser, AllowedOrigins: p.config.AllowedOrigins, Trusted: trusted,
		Tokens: p.tokens, HeaderTimeout: p.config.Limits.Request, Pending: p.config.Limits.Pending, Failures: p.config.Limits.Failures,
		Pollers: p.config.Relay.pollers(), Relay: ro, Listener: p.succession.listener(socketPublic), Log: p.log, Refused: func(c refusal.Code) { p.metrics.refused(c) },
	}, p.accept)
	p.told.Store(p.admit)
	p.watcher.Again(p.admit.Resync)

	if err := p.admit.Beat(ctx); err != nil {
		return err
	}
	p.health.SetReady(checkPool, true, "")
	background, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.tasks.Go(func() { p.watcher.Run(background) })
	p.tasks.Go(func() { p.fleet.Run(background) })
	p.tasks.Go(func() { p.admit.Run(background) })
	p.tasks.Go(func() { p.readInbox(background) })
	p.followTokens(background)
	select {
	case <-p.fleet.Ready():
		p.health.SetReady(checkFleet, true, "")
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reading the fleet: %w", ctx.Err())
	}
}

// follow hears which workers the pool misses. That is no end of their sessions,
// since a worker that is only cut off from Redis serves them on: each session
// asks its worker.
func (p *proxy) follow(missed, back []string) {
	p.running.each(missed, (*relay.Session).Doubt)
	p.running.each(back, (*relay.Session).Trust)
}

// heard sees every script's reply.
func (p *proxy) heard(m state.Meta) {
	if p.admit == nil || p.fleet == nil {
		return
	}
	if p.admit.Epoch(m.Epoch) {
		p.log.Warn("Redis came back empty: queueing the waiting clients again")
		p.fleet.Reset()
	}
	p.fleet.Heard(m.Rev)
}

func (p *proxy) readInbox(ctx context.Context) {
	err := redisx.ReadInbox(ctx, p.client, p.keys.Inbox(p.id), func(e redisx.InboxEntry) error {
		n, err := state.ParseNotice(e.Fields)
		if err != nil {
			p.log.Error("dropping an inbox entry that makes no sense", zap.Error(err))
			return nil
		}
		p.admit.Notice(n)
		return nil
	}, p.log)
	if err != nil && ctx.Err() == nil {
		p.fail(fmt.Errorf("reading the inbox: %w", err))
	}
}

// fail ends the process with an error.
func (p *proxy) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

// flushTime is how long a stop waits for a Redis that is away, which may be
// longer than anybody wants. What it does not get to tell, the workers do, or the
// end of this proxy's lease.
const flushTime = 10 * time.Second

func (p *proxy) stopPool(ctx context.Context) error {
	limited, done := context.WithTimeout(ctx, flushTime)
	defer done()
	err := p.admit.Flush(limited)
	p.cancel()
	p.tasks.Wait()
	return err
}

func (p *proxy) startEdge(context.Context) error {
	if err := p.edge.Start(); err != nil {
		return fmt.Errorf("cannot listen on %s: %w (set another address with --listen or PWDIST_LISTEN)", p.config.Listen, err)
	}
	p.health.SetReady(checkAccept, true, "")
	p.log.Info("serving", zap.Stringer("address", p.edge.Addr()), zap.String("pool", p.config.Pool), zap.String("proxy", p.id))
	return nil
}

// drain lets running sessions finish: no new clients, those who wait are sent
// elsewhere, and what still runs at the deadline is closed with a reason.
func (p *proxy) drain(ctx context.Context) error {
	p.health.SetReady(checkAccept, false, "draining")
	// One deadline for all of it: what the stop gets beyond is no more than a cut takes.
	limited, done := context.WithTimeout(ctx, p.config.Drain)
	defer done()
	p.finishWaiting(limited)
	if p.succession.shared() {
		p.edge.Leave() // who waits in the backlog is another process's
	}
	p.edge.Drain()
	p.admit.Drain()
	p.walksMu.Lock()
	p.draining = true
	p.walksMu.Unlock()
	p.walks.Wait()
	p.walkers.stop()

	r := p.edge.Relay()
	if n := r.Len(); n > 0 {
		until, _ := limited.Deadline()
		p.log.Info("draining", zap.Int("sessions", n), zap.Duration("deadline", max(0, time.Until(until).Round(time.Millisecond))))
	}
	select {
	case <-r.Empty():
	case <-limited.Done():
		p.cut(r)
	}
	stop, stopped := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stopped()
	if err := p.edge.Stop(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (p *proxy) cut(r *relay.Relay) {
	n := r.Len()
	if n == 0 {
		return // the last one has just ended
	}
	p.log.Warn("closing the sessions that are left", zap.Int("sessions", n))
	p.announce(p.running.ends(reasonDrained))
	r.CloseAll(1001, reasonDrained, "the proxy is going away")
	select {
	case <-r.Empty():
	case <-time.After(relay.DefaultOptions().Linger + time.Second):
	}
}

const (
	reasonDrained = "proxy_drained"
	// announceTime bounds what an end waits for Redis, announceBatch how long
	// one call holds it.
	announceTime  = 3 * time.Second
	announceBatch = 100
)

// foretell is for sessions that the relay is about to cut.
func (p *proxy) foretell(sessions []*relay.Session, reason string) {
	p.log.Info("ending sessions", zap.Int("sessions", len(sessions)), zap.String("reason", reason))
	p.announce(p.running.endsOf(sessions, reason))
}

// announce tells the pool why sessions end, before their workers see them
// ending and can only say that the client has closed.
func (p *proxy) announce(ends []state.End) {
	ctx, done := context.WithTimeout(context.Background(), announceTime)
	defer done()
	for batch := range slices.Chunk(ends, announceBatch) {
		if err := p.store.Finish(ctx, state.SideProxy, p.id, batch...); err != nil {
			p.metrics.redisErrors.Inc()
			p.log.Warn("cannot tell the pool why sessions end", zap.Error(err))
			return
		}
	}
}
