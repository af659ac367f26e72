package admit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/redistest"
	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const patience = 20 * time.Second

var errAway = errors.New("redis is away")

// broken is a store whose calls fail while they are named in it.
type broken struct {
	*state.Store
	mu     sync.Mutex
	down   map[string]bool
	lost   map[string]int // replies that do not arrive
	new    bool           // what the last heartbeat was answered
	failed map[string]int
	slow   *slow // acquires made again

	reassigned chan struct{} // one that was answered
}

// slow holds calls until they may go on.
type slow struct{ asked, answer chan struct{} }

func (b *broken) set(down bool, calls ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range calls {
		b.down[c] = down
	}
}

// lose has the next n replies to a call be lost.
func (b *broken) lose(n int, call string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost[call] = n
}

// hold makes acquires that are made again wait.
func (b *broken) hold() *slow {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slow = &slow{asked: make(chan struct{}, 100), answer: make(chan struct{})}
	return b.slow
}

// wasNew tells whether the last heartbeat was answered that the pool did not know
// the proxy.
func (b *broken) wasNew() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.new
}

// arrives tells whether the reply to a call that was made does.
func (b *broken) arrives(call string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost[call] > 0 {
		b.lost[call]--
		return errAway
	}
	return nil
}

func (b *broken) failures(call string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed[call]
}

func (b *broken) check(call string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down[call] {
		b.failed[call]++
		return errAway
	}
	return nil
}

func (b *broken) Acquire(ctx context.Context, r state.Request) (state.Standing, error) {
	if err := b.check("acquire"); err != nil {
		return state.Standing{}, err
	}
	b.mu.Lock()
	slow := b.slow
	b.mu.Unlock()
	if r.Again && slow != nil {
		slow.asked <- struct{}{}
		select {
		case <-slow.answer:
		case <-ctx.Done():
		}
	}
	return b.Store.Acquire(ctx, r)
}

func (b *broken) Reassign(ctx context.Context, session, worker string, attempt int) (state.Standing, error) {
	st, err := b.Store.Reassign(ctx, session, worker, attempt)
	select {
	case b.reassigned <- struct{}{}:
	default:
	}
	return st, err
}

func (b *broken) Cancel(ctx context.Context, session, proxy, reason string) (state.Phase, error) {
	if err := b.check("cancel"); err != nil {
		return "", err
	}
	// However long a busy machine takes for it: what cannot be said in time is
	// another test's.
	return b.Store.Cancel(context.WithoutCancel(ctx), session, proxy, reason)
}

func (b *broken) Reap(ctx context.Context, batch int) (ended int, until time.Duration, err error) {
	b.mu.Lock()
	endless := b.down["endless reap"]
	b.mu.Unlock()
	if endless {
		return 1, 0, nil
	}
	return b.Store.Reap(ctx, batch)
}

func (b *broken) Finish(ctx context.Context, by state.Side, who string, ends ...state.End) error {
	if err := b.check("finish"); err != nil {
		return err
	}
	return b.Store.Finish(ctx, by, who, ends...)
}

func (b *broken) ProxyHeartbeat(ctx context.Context, proxy, heeded string, ends ...state.End) (state.ProxyReply, error) {
	if err := b.check("heartbeat"); err != nil {
		return state.ProxyReply{}, err
	}
	r, err := b.Store.ProxyHeartbeat(ctx, proxy, heeded, ends...)
	if err := b.arrives("heartbeat"); err != nil {
		return state.ProxyReply{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.new = r.New
	return r, err
}

// proxy is an admitter as a proxy has it: it sees the epoch of every reply and
// reads its inbox.
type proxy struct {
	*Admitter
	t     *testing.T
	id    string
	store *broken
}

type pool struct {
	t    *testing.T
	o    state.Options
	keys keys.Pool
	*state.Store
}

func newPool(t *testing.T, change ...func(*state.Options)) *pool {
	t.Helper()
	o := state.DefaultOptions()
	for _, f := range change {
		f(&o)
	}
	s := redistest.Store(t, client, o, nil)
	return &pool{t: t, o: o, keys: s.Keys(), Store: s}
}

// proxy starts one that is called id. Its heartbeats come by hand unless a
// test changes the options.
func (p *pool) proxy(id string, change ...func(*Options)) *proxy {
	p.t.Helper()
	o := Options{Proxy: id, QueueLimit: 10, Heartbeat: time.Hour, Log: zap.NewNop()}
	for _, f := range change {
		f(&o)
	}
	x := &proxy{t: p.t, id: id, store: &broken{down: map[string]bool{}, lost: map[string]int{}, failed: map[string]int{}, reassigned: make(chan struct{}, 1)}}
	s, err := state.New(client, p.keys, p.o, func(m state.Meta) { x.Epoch(m.Epoch) })
	require.NoError(p.t, err)
	x.store.Store = s
	x.Admitter = New(x.store, o)
	require.NoError(p.t, x.Beat(p.t.Context()))

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { x.Run(ctx) })
	running.Go(func() {
		_ = redisx.ReadInbox(ctx, client, p.keys.Inbox(id), func(e redisx.InboxEntry) error {
			n, err := state.ParseNotice(e.Fields)
			if err == nil {
				x.Notice(n)
			}
			return err
		}, zap.NewNop())
	})
	p.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return x
}

// heartbeat sends one and waits until what it brought about is done.
func (x *proxy) heartbeat(ctx context.Context, again bool) time.Duration {
	next := x.Admitter.heartbeat(ctx, again)
	x.behind.Wait()
	return next
}

func (p *pool) join(id string, slots int) { redistest.Join(p.t, p.Store, redistest.Worker(id, slots)) }

// serve makes a granted session run.
func (p *pool) serve(g state.Grant) {
	p.t.Helper()
	answer, err := p.Start(p.t.Context(), g.Session, g.Worker, g.Attempt, "nonce-"+g.Session, 1)
	require.NoError(p.t, err)
	require.Equal(p.t, state.StartOK, answer)
}

func (p *pool) phase(session string) state.Phase {
	p.t.Helper()
	r, ok, err := p.Record(p.t.Context(), session)
	require.NoError(p.t, err)
	if !ok {
		return state.Unknown
	}
	return r.Phase
}

// lease is when the pool takes a proxy for dead.
func (p *pool) lease(proxy string) float64 {
	p.t.Helper()
	till, err := client.Do(p.t.Context(), client.B().Zscore().Key(p.keys.Proxies()).Member(proxy).Build()).AsFloat64()
	require.NoError(p.t, err)
	return till
}

func (p *pool) held(worker string) int {
	p.t.Helper()
	l, err := p.Loads(p.t.Context(), []string{worker})
	require.NoError(p.t, err)
	return l[worker].Held
}

// queue is who waits, in order.
func (p *pool) queue() []string {
	p.t.Helper()
	qs, _, err := p.Queues(p.t.Context(), 100)
	require.NoError(p.t, err)
	all := []string{}
	for _, q := range qs {
		for _, r := range q.Head {
			all = append(all, r.Session)
		}
	}
	return all
}

func (p *pool) waitFor(sessions ...string) {
	p.t.Helper()
	if sessions == nil {
		sessions = []string{}
	}
	p.eventually("the queue", func() bool { return slices.Equal(p.queue(), sessions) })
}

func (p *pool) eventually(what string, ok func() bool) {
	p.t.Helper()
	require.Eventually(p.t, ok, patience, time.Millisecond, what)
}

// forget has the pool take a proxy for dead, and end what waits there.
func (p *pool) forget(proxy string) {
	p.t.Helper()
	require.NoError(p.t, client.Do(p.t.Context(), client.B().Zadd().Key(p.keys.Proxies()).ScoreMember().ScoreMember(1, proxy).Build()).Error())
	ended, _, err := p.Reap(p.t.Context(), 100)
	require.NoError(p.t, err)
	require.Positive(p.t, ended)
}

// lose takes a session that was placed out of the data, as a failover does that
// lost the last of it.
func (p *pool) lose(session, worker string) {
	p.t.Helper()
	for _, r := range client.DoMulti(p.t.Context(),
		client.B().Del().Key(p.keys.Session(session)).Build(), client.B().Srem().Key(p.keys.Held(worker)).Member(session).Build(),
		client.B().Zrem().Key(p.keys.Leases()).Member(session).Build()) {
		require.NoError(p.t, r.Error())
	}
}

func (p *pool) wipe() {
	p.t.Helper()
	require.NoError(p.t, client.Do(p.t.Context(), client.B().Flushall().Build()).Error())
}

// asking is a client on its way.
type asking struct {
	*Ticket
	t     *testing.T
	leave context.CancelFunc
	done  chan outcome
}

type outcome struct {
	grant state.Grant
	err   error
}

// ask opens a ticket for a session and acquires in the background.
func (x *proxy) ask(session string, wait time.Duration) *asking {
	x.t.Helper()
	return x.askFor(state.Request{Session: session, Demand: state.Demand{Browser: "chromium"}}, wait)
}

func (x *proxy) askFor(r state.Request, wait time.Duration) *asking {
	x.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &asking{Ticket: x.Open(r, wait), t: x.t, leave: cancel, done: make(chan outcome, 1)}
	x.t.Cleanup(cancel)
	a.run(func() (state.Grant, error) { return a.Acquire(ctx) })
	return a
}

// reassign gives a grant back in the background.
func (a *asking) reassign(g state.Grant) {
	ctx, cancel := context.WithCancel(context.Background())
	a.leave = cancel
	a.t.Cleanup(cancel)
	a.run(func() (state.Grant, error) { return a.Reassign(ctx, g) })
}

// run ends as a proxy's walk does: who gets nothing gives back what it has.
func (a *asking) run(f func() (state.Grant, error)) {
	go func() {
		g, err := f()
		if err != nil {
			a.Close(Reason(err))
		}
		a.done <- outcome{g, err}
	}()
}

func (a *asking) outcome() outcome {
	a.t.Helper()
	select {
	case o := <-a.done:
		return o
	case <-time.After(patience):
		require.Fail(a.t, "the client is not answered")
		return outcome{}
	}
}

func (a *asking) granted(worker string, attempt int) state.Grant {
	a.t.Helper()
	o := a.outcome()
	require.NoError(a.t, o.err)
	require.Equal(a.t, state.Grant{
		Session: a.request.Session, Worker: worker, Endpoint: worker + ":3131", Attempt: attempt, BrowserVersion: "140.0.1", Playwright: "1.56.1",
	}, o.grant)
	return o.grant
}

func (a *asking) refused(code refusal.Code) refusal.Refusal {
	a.t.Helper()
	o := a.outcome()
	no, ok := errors.AsType[refusal.Refusal](o.err)
	require.True(a.t, ok, "got %v", o)
	require.Equal(a.t, code, no.Code)
	return no
}
