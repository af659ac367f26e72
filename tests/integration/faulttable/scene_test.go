package faulttable_test

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// defaults are the product's own timings, instead of the harness's short ones.
var defaults = harness.Settings{"log.level": "info", "timing.heartbeat": "5s", "timing.process_lease": "15s", "timing.start_lease": "10s"}

// cast says who takes part in a row.
type cast struct {
	proxies, workers int  // 0 stands for one proxy and two workers
	alone            bool // nobody starts a worker again
	proxy, worker    harness.Settings
}

// scene is one run of a row: a pool whose every connection leads over a link
// that the row can break.
type scene struct {
	*testing.T

	pool *harness.Pool
	// Links by the number of the proxy or worker that they belong to.
	proxyRedis, workerRedis []*faults.Link
	toWorker, toProxy       []*faults.Link

	row   *row
	began time.Time
	seen  []observation
}

type observation struct {
	column faulttable.Column
	text   string
	took   time.Duration
}

func newScene(t *testing.T, r *row) *scene {
	t.Helper()
	c := r.cast
	c.proxies = max(1, c.proxies)
	if c.workers == 0 {
		c.workers = 2
	}
	s := &scene{T: t, row: r}
	s.pool = harness.NewEmpty(t, harness.Options{
		Common: defaults, Proxy: c.proxy, Worker: c.worker, Supervise: !c.alone,
		// The links are opened before the pool's end is registered, so that they
		// close after it.
		Via: func(redis string) string {
			for range c.proxies {
				s.proxyRedis = append(s.proxyRedis, faults.Start(t, redis))
				s.toProxy = append(s.toProxy, faults.Start(t, redis))
			}
			for range c.workers {
				s.workerRedis = append(s.workerRedis, faults.Start(t, redis))
				s.toWorker = append(s.toWorker, faults.Start(t, redis))
			}
			return redis
		},
	})
	for i := range c.proxies {
		p := s.pool.AddProxy(t, harness.Settings{"redis.url": url(s.proxyRedis[i])})
		s.toProxy[i].Lead(p.Address)
	}
	for i := range c.workers {
		w := s.pool.AddWorker(t, harness.Settings{"redis.url": url(s.workerRedis[i]), "advertise": s.toWorker[i].Address()})
		s.toWorker[i].Lead(w.Address)
	}
	harness.AwaitWithin(t, patience, "all are ready", ready(append(s.pool.Proxies, s.pool.Workers...)...))
	return s
}

func url(redis *faults.Link) string { return "redis://" + redis.Address() + "/0" }

// client is a stock client with a page open.
type client struct {
	*harness.Browser

	s       *scene
	name    string
	page    *harness.Page
	session event.Session
	worker  int // the number of the one that it is on
}

const example = "http://example.com/"

// connect opens a session with a page, over the link to a proxy.
func (s *scene) connect(proxy int, name string) *client {
	s.Helper()
	b := harness.Connect(s, "ws://"+s.toProxy[proxy].Address()+"/?name="+name)
	c := &client{Browser: b, s: s, name: name, worker: -1}
	c.page = b.OpenPage(s, example)
	c.session = *s.pool.Log.AwaitSession(s, name, event.SessionStarted).Session
	for i, w := range s.pool.Workers {
		if s.pool.WorkerID(w) == c.session.Worker {
			c.worker = i
		}
	}
	require.GreaterOrEqual(s, c.worker, 0)
	return c
}

// works has the client's page compute something.
func (c *client) works() {
	c.s.Helper()
	require.Equal(c.s, "42", c.page.Evaluate(c.s, "6 * 7"))
}

// quit ends the session in good order.
func (c *client) quit() {
	c.s.Helper()
	require.NoError(c.s, c.Close())
	c.s.pool.Log.AwaitSession(c.s, c.name, event.SessionEnded)
}

// strike does what the row is about; times count from here.
func (s *scene) strike(do func()) {
	s.Helper()
	s.began = time.Now()
	do()
}

// fresh has later times count from here.
func (s *scene) fresh() { s.began = time.Now() }

func (s *scene) must(err error) {
	s.Helper()
	require.NoError(s, err)
}

// patience is how long a row waits for anything.
const patience = 200 * time.Second

// when waits for a condition and notes how long it took.
func (s *scene) when(c faulttable.Column, text string, ok func() bool) {
	s.Helper()
	harness.AwaitWithin(s, patience, strings.ReplaceAll(text, "%s", "…"), ok)
	s.saw(c, text)
}

// saw notes an observation of just now.
func (s *scene) saw(c faulttable.Column, text string) { s.note(c, text, time.Since(s.began)) }

func (s *scene) note(c faulttable.Column, text string, took time.Duration) {
	s.seen = append(s.seen, observation{c, text, took})
}

// event waits for the first event that matches after the strike.
func (s *scene) event(c faulttable.Column, text string, match func(event.Event) bool) event.Event {
	s.Helper()
	var found event.Event
	s.when(c, text, func() bool {
		for _, e := range s.pool.Log.All() {
			// The log's clock is this machine's; it is a millisecond's.
			if e.At.After(s.began.Add(-2*time.Millisecond)) && match(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func ended(name string) func(event.Event) bool {
	return func(e event.Event) bool {
		return e.Type == event.SessionEnded && e.Session.Name == name
	}
}

func of(kind event.Type) func(event.Event) bool {
	return func(e event.Event) bool { return e.Type == kind }
}

// unready is a condition: all of these say that they do not serve, or nothing.
func unready(services ...*harness.Service) func() bool {
	return func() bool {
		for _, p := range services {
			if p.Ready() {
				return false
			}
		}
		return true
	}
}

func ready(services ...*harness.Service) func() bool {
	return func() bool {
		for _, p := range services {
			if !p.Ready() {
				return false
			}
		}
		return true
	}
}

// visitor is a stock client that connects, opens a page and closes.
type visitor struct {
	done chan struct{}
	took time.Duration
	err  error
}

// visit starts a visitor at a proxy, with the default patience of a client, or
// another (such as "timeout=2s").
func (s *scene) visit(proxy int, query string) *visitor {
	v := &visitor{done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer close(v.done)
		title, err := harness.Visit(s, "ws://"+s.toProxy[proxy].Address()+"/?"+query, example)
		v.took, v.err = time.Since(began), err
		if err == nil && title != harness.ExampleTitle {
			v.err = &wrongTitle{title}
		}
	}()
	s.Cleanup(func() { <-v.done })
	return v
}

type wrongTitle struct{ title string }

func (w *wrongTitle) Error() string { return "wrong title " + w.title }

// page waits for the visitor, who must have got a page.
func (s *scene) gotPage(v *visitor, c faulttable.Column, text string) {
	s.Helper()
	s.over(v)
	require.NoError(s, v.err)
	s.note(c, text, v.took)
}

// refused waits for the visitor, who must have been told what.
func (s *scene) refused(v *visitor, c faulttable.Column, text, what string) {
	s.Helper()
	s.over(v)
	require.ErrorContains(s, v.err, what)
	s.note(c, text, v.took)
}

func (s *scene) over(v *visitor) {
	s.Helper()
	select {
	case <-v.done:
	case <-time.After(patience):
		s.Fatal("a visitor is neither served nor refused")
	}
}

// lost waits for the client's connection to end.
func (s *scene) lost(c *client, text string) {
	s.Helper()
	select {
	case <-c.Lost():
	case <-time.After(patience):
		s.Fatalf("%s: the client has not seen its connection end", s.row.Fault)
	}
	s.saw(faulttable.Connected, text)
}

// freeze stops a process until the end of the test at the latest.
func (s *scene) freeze(p *harness.Process) (thaw func()) {
	s.Helper()
	p.Signal(s, syscall.SIGSTOP)
	var once sync.Once
	thaw = func() { once.Do(func() { p.Signal(s, syscall.SIGCONT) }) }
	s.Cleanup(thaw)
	return thaw
}

// pass waits for a time that is part of the row, such as how long Redis is away.
func (s *scene) pass(d time.Duration) {
	s.Helper()
	until := s.began.Add(d)
	harness.AwaitWithin(s, patience, "the fault has lasted "+d.String(), func() bool { return time.Now().After(until) })
}

// links does something to several links.
func (s *scene) links(do func(*faults.Link) error, all ...[]*faults.Link) {
	s.Helper()
	for _, list := range all {
		for _, l := range list {
			s.must(do(l))
		}
	}
}
