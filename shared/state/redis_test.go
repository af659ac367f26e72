package state_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func dial(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	return d.DialContext(ctx, "unix", path)
}

func connect() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server}, DialCtxFn: dial, DisableCache: true, ForceSingleClient: true, DisableRetry: true})
}

var pools atomic.Int64

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	FailNow()
}

// pool is a fresh pool, its scripts, and what a test needs to look inside.
type pool struct {
	*state.Store
	t       fataler
	c       rueidis.Client
	k       keys.Pool
	closed  bool          // checked no more
	last    string        // stream id of the last event that was read
	log     []event.Event // all events since the last reset, as far as read
	fold    event.State
	told    map[string]int    // how often the end of a session was told, by session
	parked  map[string]bool   // workers that lost their place among the free before time stood still
	heeded  map[string]string // by proxy, the last reply to a heartbeat
	over    map[string]bool   // workers that a failover may have left with more sessions than slots
	expired int               // deadlines that a test had pass
}

func options(change ...func(*state.Options)) state.Options {
	o := state.DefaultOptions()
	for _, f := range change {
		f(&o)
	}
	return o
}

// newPool makes a pool for one test and checks it once more when the test is over.
func newPool(t *testing.T, change ...func(*state.Options)) *pool {
	t.Helper()
	p := openPool(t, conn, options(change...))
	t.Cleanup(func() {
		if !t.Failed() && !p.closed {
			p.check()
		}
		p.wipe()
	})
	return p
}

func openPool(t fataler, c rueidis.Client, o state.Options) *pool {
	t.Helper()
	k, err := keys.For(fmt.Sprintf("t%d", pools.Add(1)))
	require.NoError(t, err)
	s, err := state.New(c, k, o, nil)
	require.NoError(t, err)
	return &pool{t: t, c: c, k: k, Store: s, last: "0", told: map[string]int{}, parked: map[string]bool{}, over: map[string]bool{}, heeded: map[string]string{}}
}

// do runs a plain command.
func (p *pool) do(args ...string) rueidis.RedisResult {
	return p.c.Do(ctx, p.c.B().Arbitrary(args[0]).Args(args[1:]...).Build())
}

// forget leaves out the check at the end of the test.
func (p *pool) forget() { p.closed = true }

// wipe is what FLUSHALL would do to this pool.
func (p *pool) wipe() {
	p.t.Helper()
	names, err := p.do("KEYS", "{pwdist:"+p.k.Name()+"}:*").AsStrSlice()
	require.NoError(p.t, err)
	if len(names) > 0 {
		require.NoError(p.t, p.do(append([]string{"DEL"}, names...)...).Error())
	}
	p.last = "0"
}

var ctx = context.Background()

// The scripts by their shortest names, for tests that are about something else
// than errors of the connection.

func chromium(version string) state.Demand {
	return state.Demand{Browser: "chromium", Playwright: version}
}

// worker describes a worker of the usual kind; id is also the host of its endpoint.
func worker(id string, slots int) state.Worker {
	return state.Worker{ID: id, Endpoint: id + ":3131", Browser: "chromium", BrowserVersion: "140.0.1", Playwright: "1.65.1",
		Isolation: []string{"context"}, Slots: slots}
}

func (p *pool) join(w state.Worker) state.JoinReply {
	p.t.Helper()
	return p.joinAs(state.JoinRequest{Worker: w, State: state.Ready, Number: 1})
}

func (p *pool) joinAs(r state.JoinRequest) state.JoinReply {
	p.t.Helper()
	reply, err := p.Join(ctx, r)
	require.NoError(p.t, err)
	return reply
}

func request(session string) state.Request {
	return state.Request{Session: session, Proxy: "p1", Demand: chromium("1.65"), QueueLimit: 10}
}

func (p *pool) acquire(session string) state.Standing {
	p.t.Helper()
	return p.ask(request(session))
}

func (p *pool) ask(r state.Request) state.Standing {
	p.t.Helper()
	st, err := p.Acquire(ctx, r)
	require.NoError(p.t, err)
	return st
}

func (p *pool) reassign(session, worker string, attempt int) state.Standing {
	p.t.Helper()
	st, err := p.Reassign(ctx, session, worker, attempt)
	require.NoError(p.t, err)
	return st
}

func (p *pool) start(session, worker string, attempt int, more ...string) state.StartAnswer {
	p.t.Helper()
	nonce, number := "nonce-"+session, int64(1)
	if len(more) > 0 {
		nonce = more[0]
	}
	if len(more) > 1 {
		number, _ = strconv.ParseInt(more[1], 10, 64)
	}
	a, err := p.Start(ctx, session, worker, attempt, nonce, number)
	require.NoError(p.t, err)
	return a
}

// serve brings a session to its active state.
func (p *pool) serve(session, worker string) {
	p.t.Helper()
	st := p.acquire(session)
	require.Equal(p.t, state.Assigned, st.Phase)
	require.Equal(p.t, worker, st.Grant.Worker)
	require.Equal(p.t, state.StartOK, p.start(session, worker, st.Grant.Attempt))
}

func (p *pool) finish(worker, session string) {
	p.t.Helper()
	require.NoError(p.t, p.Finish(ctx, state.SideWorker, worker, state.End{Session: session, Reason: "client_closed"}))
}

func (p *pool) cancel(session string) state.Phase {
	p.t.Helper()
	was, err := p.Cancel(ctx, session, "p1", "cancelled")
	require.NoError(p.t, err)
	return was
}

func (p *pool) beat(worker string, number int64, serving ...string) state.BeatReply {
	p.t.Helper()
	return p.beatAs(state.Beat{Worker: worker, Number: number, State: state.Ready, Missing: "worker_closed", Serving: serving})
}

func (p *pool) beatAs(b state.Beat) state.BeatReply {
	p.t.Helper()
	r, err := p.Heartbeat(ctx, b)
	require.NoError(p.t, err)
	return r
}

func (p *pool) retire(worker, reason string) state.RetireReply {
	p.t.Helper()
	r, err := p.Retire(ctx, worker, reason, 1)
	require.NoError(p.t, err)
	return r
}

func (p *pool) leave(worker, reason string, force bool, ends ...state.End) int {
	p.t.Helper()
	held, err := p.Leave(ctx, worker, reason, 1, force, ends...)
	require.NoError(p.t, err)
	return held
}

func (p *pool) proxyBeat(proxy string, ends ...state.End) state.ProxyReply {
	p.t.Helper()
	r, err := p.ProxyHeartbeat(ctx, proxy, p.heeded[proxy], ends...)
	require.NoError(p.t, err)
	p.heeded[proxy] = r.Told
	return r
}

func (p *pool) reap(batch int) (ended int, next time.Duration) {
	p.t.Helper()
	ended, next, err := p.Reap(ctx, batch)
	require.NoError(p.t, err)
	return ended, next
}

// expire makes a deadline pass.
func (p *pool) expire(key, member string) {
	p.t.Helper()
	// Where time stood still, the others keep the deadlines that follow from that.
	if head, err := p.do("GET", p.k.Head()).ToString(); err == nil && len(strings.Fields(head)[3]) > 12 {
		d := p.dump()
		for name := range leases(p.Options()) {
			for other, till := range d.zset[name] {
				require.NoError(p.t, p.do("ZADD", p.k.Prefix()+name, "XX", strconv.FormatFloat(till, 'f', -1, 64), other).Error())
			}
		}
	}
	// Another time at which time went on, that no deadline depends on: a lease that is shorter than it was
	// can only be one of which the scripts know nothing yet.
	p.expired++
	p.head("resumed", strconv.Itoa(p.expired))
	require.NoError(p.t, p.do("ZADD", key, "XX", "1", member).Error())
	require.NoError(p.t, p.do("ZSCORE", key, member).Error(), "%s has no %s", key, member)
}

// head gives a word of the pool's head another value.
func (p *pool) head(word, value string) {
	p.t.Helper()
	text, err := p.do("GET", p.k.Head()).ToString()
	require.NoError(p.t, err)
	words := strings.Fields(text)
	words[slices.Index(headWords, word)] = value
	require.NoError(p.t, p.do("SET", p.k.Head(), strings.Join(words, " ")).Error())
}

// inbox empties the inbox of a proxy as its reader would.
func (p *pool) inbox(proxy string) []state.Notice {
	p.t.Helper()
	entries, err := p.do("XRANGE", p.k.Inbox(proxy), "-", "+").AsXRange()
	require.NoError(p.t, err)
	var list []state.Notice
	for _, e := range entries {
		n, err := state.ParseNotice(e.FieldValues)
		require.NoError(p.t, err)
		list = append(list, n)
		require.NoError(p.t, p.do("XDEL", p.k.Inbox(proxy), e.ID).Error())
	}
	return list
}
