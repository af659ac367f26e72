package harness

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Options of a pool. The settings go to the programs as flags.
type Options struct {
	Proxies int // 0 stands for one
	Workers int

	Common Settings // for proxies and workers
	Proxy  Settings
	Worker Settings

	// Supervise starts a worker again whenever it ends, at the same endpoint, as
	// `make up` and a container runtime do.
	Supervise bool

	// Via, if not nil, puts something in front of Redis for proxies and workers:
	// it gets the address of Redis and returns the one that they are told. The
	// test itself goes to Redis directly.
	Via func(redis string) string
}

// Pool is a Redis with proxies and workers.
type Pool struct {
	Redis   *Redis
	Pages   *Pages
	Log     *Log
	Store   *state.Store // a look into the state, and a way to put things there
	Keys    keys.Pool
	Proxies []*Service
	Workers []*Service

	options  Options
	settles  time.Duration
	redisURL string // for proxies and workers
	standIns []string
	dir      string
}

// Quick are the timings of a pool, unless a test says otherwise: it need not wait
// long for a heartbeat, and yet a process that a busy machine holds up for a
// while is not taken for lost.
func Quick() Settings {
	return Settings{"timing.heartbeat": "1s", "timing.process_lease": "60s", "timing.start_lease": "6s"}
}

// ShortLease is for a test that waits until processes are taken for lost.
func ShortLease() Settings { return Settings{"timing.process_lease": "4s"} }

// busy is what a machine with much to do may add to what the pool promises.
const busy = 5 * time.Second

// Settles is how long a slot may be held after whatever held it has gone (I3): one
// heartbeat and the longest lease, and something for a busy machine.
func (p *Pool) Settles() time.Duration { return p.settles }

// timing gives the scripts that a test calls the numbers of the pool.
func timing(tb testing.TB, s Settings) state.Options {
	tb.Helper()
	o := state.DefaultOptions()
	for key, to := range map[string]*time.Duration{
		"timing.heartbeat": &o.Heartbeat, "timing.process_lease": &o.ProcessLease, "timing.start_lease": &o.StartLease,
	} {
		d, err := time.ParseDuration(s[key])
		if err != nil {
			tb.Fatalf("%s: %v", key, err)
		}
		*to = d
	}
	return o
}

// New starts a pool and returns when all of it is ready. At its cleanup the
// pool checks itself, see the package comment. A test that wants workers needs
// browsers, so it is not for -short.
func New(tb testing.TB, o Options) *Pool {
	tb.Helper()
	if o.Workers > 0 {
		NeedBrowser(tb)
	}
	p := NewEmpty(tb, o)
	for range max(1, o.Proxies) {
		p.AddProxy(tb, nil)
	}
	for range o.Workers {
		p.AddWorker(tb, nil)
	}
	for _, s := range p.services() {
		s.AwaitReady(tb)
	}
	return p
}

// NeedBrowser marks a test that is left out with -short, because it starts
// browsers.
func NeedBrowser(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("starts browsers: not with -short")
	}
}

// NewEmpty starts a pool that has a Redis and nothing else yet.
func NewEmpty(tb testing.TB, o Options) *Pool {
	tb.Helper()
	k, err := keys.For("default")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Pool{Keys: k, options: o, dir: tempDir(tb), Pages: startPages()}
	p.Redis = startRedis(tb, p.dir)
	p.redisURL = p.Redis.URL
	if o.Via != nil {
		p.redisURL = "redis://" + o.Via(p.Redis.Address) + "/0"
	}
	p.Log = followLog(p.Redis, k.Events())
	times := timing(tb, Quick().with(o.Common))
	p.settles = min(Patience, times.Heartbeat+max(times.ProcessLease, times.StartLease)+busy)
	if p.Store, err = state.New(p.Redis.Client, k, times, nil); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.close(tb) })
	return p
}

// AddProxy starts one more proxy and does not wait for it.
func (p *Pool) AddProxy(tb testing.TB, more Settings) *Service {
	tb.Helper()
	s := p.add("proxy", Binary(tb, "pwdist-proxy"), Port(tb), Port(tb), p.options.Proxy, more)
	p.Proxies = append(p.Proxies, s)
	s.Name += itoa(len(p.Proxies))
	s.command.Name = s.Name
	s.Start(tb)
	return s
}

// AddProxyWithFiles starts one more proxy with these limits of open files.
func (p *Pool) AddProxyWithFiles(tb testing.TB, soft, hard int, more Settings) *Service {
	tb.Helper()
	s := p.add("proxy", Binary(tb, "pwdist-proxy"), Port(tb), Port(tb), p.options.Proxy, more)
	p.Proxies = append(p.Proxies, s)
	s.Name += itoa(len(p.Proxies))
	c := &s.command
	c.Name = s.Name
	limits := fmt.Sprintf("ulimit -S -n %d && ulimit -H -n %d", soft, hard)
	c.Args = append([]string{"-c", limits + ` && exec "$0" "$@"`, c.Path}, c.Args...)
	c.Path = "/bin/sh"
	s.Start(tb)
	return s
}

// AddProxyWithSockets has one more proxy, to be started as systemd does it, with listening
// sockets that are open already: the public one and the admin one.
func (p *Pool) AddProxyWithSockets(tb testing.TB, public, admin *net.TCPListener, more Settings) *Service {
	tb.Helper()
	s := p.add("proxy", Binary(tb, "pwdist-proxy"), Port(tb), Port(tb), p.options.Proxy, more)
	p.Proxies = append(p.Proxies, s)
	s.Name += itoa(len(p.Proxies))
	s.Address, s.Admin = public.Addr().String(), admin.Addr().String()
	c := &s.command
	c.Name = s.Name
	for _, ln := range []*net.TCPListener{public, admin} {
		f, err := ln.File()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = f.Close() })
		c.Files = append(c.Files, f)
	}
	c.Env = append(c.Env, "LISTEN_FDS=2", "LISTEN_FDNAMES=pwdist-proxy.socket:admin")
	c.Args = append([]string{"-c", `export LISTEN_PID=$$ && exec "$0" "$@"`, c.Path}, c.Args...)
	c.Path = "/bin/sh"
	return s
}

// AddWorker starts one more worker and does not wait for it.
func (p *Pool) AddWorker(tb testing.TB, more Settings) *Service {
	tb.Helper()
	s := p.newWorker(tb, more)
	s.Start(tb)
	return s
}

// AddWorkerAsFirst starts one more worker that is process 1 of its own
// namespace, as in a container.
func (p *Pool) AddWorkerAsFirst(tb testing.TB, more Settings) *Service {
	tb.Helper()
	NeedPIDNamespace(tb)
	s := p.newWorker(tb, more)
	s.command.First = true
	s.Start(tb)
	return s
}

func (p *Pool) newWorker(tb testing.TB, more Settings) *Service {
	tb.Helper()
	port := Port(tb)
	s := p.add("worker", Binary(tb, "pwdist-worker"), port, Port(tb), p.ofWorker(port), more)
	s.supervise = p.options.Supervise
	p.Workers = append(p.Workers, s)
	s.Name += itoa(len(p.Workers))
	s.command.Name = s.Name
	return s
}

func (p *Pool) ofWorker(port int) Settings {
	return Settings{
		"advertise":      loopback(port),
		"browser.args":   List(p.Pages.BrowserArgs()...),
		"playwright.dir": PlaywrightDir(),
	}.with(p.options.Worker)
}

// PlaywrightDir is the folder of the Playwright that our workers run.
func PlaywrightDir() string { return filepath.Join(Root(), "services/worker/playwright") }

func (p *Pool) add(name, path string, port, admin int, of, more Settings) *Service {
	settings := Settings{
		"listen": loopback(port), "admin.listen": loopback(admin), "redis.url": p.redisURL,
		"log.level": "debug", "log.format": "console",
	}.with(Quick(), p.options.Common, of, more)
	listen, adminListen := settings["listen"], settings["admin.listen"]
	if listen != "" && listen[0] == ':' {
		listen = "127.0.0.1" + listen
	}
	reached := listen
	if a := settings["advertise"]; a != "" {
		reached = a
	}
	return &Service{
		Name: name, Address: listen, Admin: adminListen, Reached: reached, pool: p,
		command: Command{Path: path, Args: settings.flags(), Env: []string{"TMPDIR=" + p.dir}},
	}
}

// Scratch is the folder below which proxies and workers have their files.
func (p *Pool) Scratch() string { return p.dir }

// Proxy is the first proxy.
func (p *Pool) Proxy() *Service { return p.Proxies[0] }

// URL is where clients connect: the first proxy. The query may be empty.
func (p *Pool) URL(query string) string { return URL(p.Proxy(), query) }

// URL is where clients of a proxy connect.
func URL(proxy *Service, query string) string {
	u := "ws://" + proxy.Address + "/"
	if query != "" {
		u += "?" + query
	}
	return u
}

// WorkerID is the id of the worker that has joined from a service's endpoint,
// empty when none has.
func (p *Pool) WorkerID(s *Service) string {
	id, _ := p.Redis.do(context.Background(), "HGET", p.Keys.Endpoints(), s.Reached).ToString()
	return id
}

// JoinStandIn puts a worker into the pool of which nothing exists but what the
// pool knows; nothing listens at its endpoint. Its lease runs out like any.
func (p *Pool) JoinStandIn(tb testing.TB, w state.Worker) {
	tb.Helper()
	if w.Endpoint == "" {
		w.Endpoint = loopback(Port(tb))
	}
	if _, err := p.Store.Join(tb.Context(), state.JoinRequest{Worker: w, State: state.Ready, Number: 1}); err != nil {
		tb.Fatal(err)
	}
	p.standIns = append(p.standIns, w.ID)
}

// LeaveStandIns takes all of them out of the pool.
func (p *Pool) LeaveStandIns(tb testing.TB) {
	tb.Helper()
	for _, id := range p.standIns {
		if _, err := p.Store.Leave(tb.Context(), id, state.RetireDrain, 2, true); err != nil {
			tb.Fatal(err)
		}
	}
}

func (p *Pool) services() []*Service {
	return append(append([]*Service{}, p.Workers...), p.Proxies...)
}

func (p *Pool) close(tb testing.TB) {
	// While everything runs, and again when all have left.
	if !tb.Failed() {
		p.CheckSettled(tb)
	}
	var all sync.WaitGroup
	for _, s := range p.services() {
		all.Go(func() { s.finish(tb, tb.Failed()) })
	}
	all.Wait()
	if !tb.Failed() {
		p.CheckSettled(tb)
	}
	for _, s := range p.services() {
		s.report(tb)
	}
	if tb.Failed() {
		tb.Logf("── events\n%s", p.Log.Text())
	}
	p.Log.stop()
	p.Redis.stop(tb)
	<-p.Log.stopped // its read ends with Redis
	p.Pages.stop()
}
