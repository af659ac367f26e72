package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/registrar"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/testkit"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const (
	worker   = "w1"
	endpoint = "127.0.0.1:3131"
	proxy    = "p1"
)

// flaky is a store that a test can cut off.
type flaky struct {
	*state.Store

	mu     sync.Mutex
	err    error                   // of every call, without making it
	after  func(call string) error // after a call was made, before its reply is seen
	called map[string]int
}

func (f *flaky) before(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called[call]++
	return f.err
}

func (f *flaky) behind(call string, err error) error {
	f.mu.Lock()
	after := f.after
	f.mu.Unlock()
	if after == nil || err != nil {
		return err
	}
	return after(call)
}

func (f *flaky) calls(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.called[call]
}

func (f *flaky) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *flaky) Join(ctx context.Context, r state.JoinRequest) (state.JoinReply, error) {
	if err := f.before("join"); err != nil {
		return state.JoinReply{}, err
	}
	reply, err := f.Store.Join(ctx, r)
	return reply, f.behind("join", err)
}

func (f *flaky) Heartbeat(ctx context.Context, b state.Beat) (state.BeatReply, error) {
	if err := f.before("heartbeat"); err != nil {
		return state.BeatReply{}, err
	}
	return f.Store.Heartbeat(ctx, b)
}

func (f *flaky) Start(ctx context.Context, session, worker string, attempt int, nonce string, number int64) (state.StartAnswer, error) {
	if err := f.before("start"); err != nil {
		return "", err
	}
	answer, err := f.Store.Start(ctx, session, worker, attempt, nonce, number)
	return answer, f.behind("start", err)
}

func (f *flaky) Finish(ctx context.Context, by state.Side, who string, ends ...state.End) error {
	if err := f.before("finish"); err != nil {
		return err
	}
	return f.behind("finish", f.Store.Finish(ctx, by, who, ends...))
}

func (f *flaky) Retire(ctx context.Context, worker, reason string, number int64) (state.RetireReply, error) {
	if err := f.before("retire"); err != nil {
		return state.RetireReply{}, err
	}
	return f.Store.Retire(ctx, worker, reason, number)
}

func (f *flaky) Leave(ctx context.Context, worker, reason string, number int64, force bool, ends ...state.End) (int, error) {
	if err := f.before("leave"); err != nil {
		return 0, err
	}
	held, err := f.Store.Leave(ctx, worker, reason, number, force, ends...)
	return held, f.behind("leave", err)
}

// member is a worker without browser and gate, in a pool of its own.
type member struct {
	*registrar.Registrar
	t     *testing.T
	redis *testkit.Redis
	pool  *testkit.Pool
	store *flaky

	mu       sync.Mutex
	standing string // why it gets no sessions
	endings  map[string]gate.Ending
	stopped  bool
}

func newMember(t *testing.T, change func(*registrar.Options)) *member {
	t.Helper()
	redis := testkit.StartRedis(t)
	return newMemberOf(t, redis, change)
}

func newMemberOf(t *testing.T, redis *testkit.Redis, change func(*registrar.Options)) *member {
	t.Helper()
	so := state.DefaultOptions()
	so.Heartbeat = time.Second
	m := &member{t: t, redis: redis, pool: redis.Pool(so), endings: map[string]gate.Ending{}, standing: "new"}
	o := registrar.Options{
		Worker: state.Worker{
			ID: worker, Browser: "chromium", Playwright: "1.65.1", Slots: 3, Isolation: []string{"context"}, Labels: map[string]string{"a": "b"},
		},
		Heartbeat: 250 * time.Millisecond, Drain: testkit.Patience, Log: zaptest.NewLogger(t, zaptest.WrapOptions()),
		Standing: func(_ bool, why string) {
			m.mu.Lock()
			m.standing = why
			m.mu.Unlock()
		},
	}
	change(&o)
	m.Registrar = registrar.New(o)
	client := redis.Connect(func(ok bool, _ string) { m.Redis(ok) })
	store, err := state.New(client, m.pool.Keys, so, m.Heard)
	require.NoError(t, err)
	m.store = &flaky{Store: store, called: map[string]int{}}
	m.Attach(m.store, endpointOf(o.Worker.ID))
	require.NoError(t, m.Registrar.Start(context.Background()))
	t.Cleanup(func() { m.stop(0) })
	return m
}

func endpointOf(id string) string {
	if id == "w2" {
		return "127.0.0.1:4000"
	}
	return endpoint
}

// stop stops it; a patience of 0 closes at once what is left.
func (m *member) stop(patience time.Duration) {
	m.t.Helper()
	m.mu.Lock()
	stopped := m.stopped
	m.stopped = true
	m.mu.Unlock()
	if stopped {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(m.t, m.Registrar.Stop(ctx))
}

func (m *member) up() {
	m.Browser(browser.State{Up: true, BrowserVersion: "156.0"})
}

func (m *member) crash() { m.Browser(browser.State{Why: "killed"}) }

// joined brings the browser up and waits until the pool knows.
func (m *member) joined() *member {
	m.t.Helper()
	m.up()
	m.awaitState("ready")
	testkit.Await(m.t, "it knows", func() bool { return m.why() == "" })
	return m
}

func (m *member) why() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.standing
}

func (m *member) state() string { return m.pool.Field(m.pool.Keys.Worker(worker), "state") }

func (m *member) awaitState(want string) {
	m.t.Helper()
	testkit.Await(m.t, "the worker is "+want, func() bool { return m.state() == want })
}

// acquire has the proxy get a slot for a session.
func (m *member) acquire(session string) {
	m.t.Helper()
	ctx := context.Background()
	_, err := m.pool.ProxyHeartbeat(ctx, proxy, "")
	require.NoError(m.t, err)
	st, err := m.pool.Acquire(ctx, state.Request{Session: session, Proxy: proxy, Demand: state.Demand{Browser: "chromium"}, QueueLimit: 10})
	require.NoError(m.t, err)
	require.Equal(m.t, state.Assigned, st.Phase, st.Reason)
}

func serving(session string) state.Serving {
	return state.Serving{Session: session, Proxy: proxy, Attempt: 1, Name: "n", Labels: map[string]string{"l": "1"}, Token: "t", Client: "c", Nonce: "nonce-" + session}
}

// claim starts a session as the gate does. One that is drained is closed; other
// endings are left to the test.
func (m *member) claim(session string) (state.StartAnswer, error) {
	return m.Claim(context.Background(), serving(session), func(e gate.Ending) {
		m.mu.Lock()
		m.endings[session] = e
		m.mu.Unlock()
		if e.Reason == "worker_drained" {
			go m.close(session, e.Reason)
		}
	})
}

// open assigns and starts sessions.
func (m *member) open(sessions ...string) {
	m.t.Helper()
	for _, s := range sessions {
		m.acquire(s)
		answer, err := m.claim(s)
		require.NoError(m.t, err)
		require.Equal(m.t, state.StartOK, answer)
	}
}

func (m *member) close(session, reason string) {
	m.Ended(state.End{Session: session, Reason: reason, Counts: state.Counts{BytesUp: 1, BytesDown: 2, MessagesUp: 3, MessagesDown: 4}})
}

func (m *member) ending(session string) (gate.Ending, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.endings[session]
	return e, ok
}

func (m *member) awaitEnding(session string) gate.Ending {
	m.t.Helper()
	testkit.Await(m.t, session+" is told to end", func() bool { _, ok := m.ending(session); return ok })
	e, _ := m.ending(session)
	return e
}

func (m *member) awaitEvent(line string) {
	m.t.Helper()
	testkit.Await(m.t, "the log has "+line, func() bool { return slices.Contains(m.pool.Events(), line) })
}

func (m *member) count(line string) int {
	n := 0
	for _, l := range m.pool.Events() {
		if strings.HasPrefix(l, line) {
			n++
		}
	}
	return n
}

func (m *member) number() string {
	return strings.Join(m.pool.Do("ZSCORE", m.pool.Keys.Beats(), worker), "")
}

func TestAWorkerJoinsWhenItsBrowserIsUp(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {})
	require.Empty(t, m.state())
	m.joined()
	members, _, err := m.pool.Fleet(context.Background())
	require.NoError(t, err)
	require.Equal(t, state.Ready, members[worker].State)
	require.Equal(t, state.Worker{
		ID: worker, Endpoint: endpoint, Browser: "chromium", BrowserVersion: "156.0", Playwright: "1.65.1",
		Slots: 3, Isolation: []string{"context"}, Labels: map[string]string{"a": "b"},
	}, members[worker].Worker)
	first := m.number()
	testkit.Await(t, "it beats", func() bool { return m.number() != first })
	m.stop(testkit.Patience)
	require.Equal(t, []string{"pool.reset", "worker.joined", "worker.retiring drain", "worker.left drain"}, m.pool.Events())
}

func TestOnlyAnAssignmentStartsASession(t *testing.T) { // I10
	m := newMember(t, func(*registrar.Options) {}).joined()
	answer, err := m.claim("stranger")
	require.NoError(t, err)
	require.Equal(t, state.StartUnknown, answer)
	m.open("s")
	again := serving("s")
	again.Nonce = "another connection"
	answer, err = m.Claim(context.Background(), again, func(gate.Ending) {})
	require.NoError(t, err)
	require.Equal(t, state.StartUsed, answer)
	require.Equal(t, 1, m.Live())
	m.close("s", "client_closed")
	m.awaitEvent("session.ended s client_closed")
	answer, err = m.claim("s")
	require.NoError(t, err)
	require.Equal(t, state.StartOver, answer)
	require.Zero(t, m.Live())
}

func TestAnEndFreesTheSlotAtOnce(t *testing.T) { // I3
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat = time.Hour }).joined()
	m.open("s")
	m.close("s", "client_closed")
	testkit.Await(t, "the slot is free", func() bool { return len(m.pool.Do("SMEMBERS", m.pool.Keys.Held(worker))) == 0 })
	m.awaitEvent("session.ended s client_closed")
}

func TestACrashedBrowserIsOfferedToNobody(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat, o.Worker.Slots = time.Hour, 2 }).joined()
	m.open("one", "two")
	st, err := m.pool.Acquire(context.Background(), state.Request{Session: "waiting", Proxy: proxy, Demand: state.Demand{Browser: "chromium"}, QueueLimit: 10})
	require.NoError(t, err)
	require.Equal(t, state.Queued, st.Phase)
	m.crash()
	m.close("one", "browser_crashed")
	m.close("two", "browser_crashed")
	m.awaitEvent("session.ended one browser_crashed")
	m.awaitEvent("session.ended two browser_crashed")
	m.awaitEvent("worker.unhealthy browser_crashed")
	require.Zero(t, m.count("session.assigned waiting"), "its slots are free, and it has no browser")
	m.up()
	m.awaitEvent("session.assigned waiting")
	events := m.pool.Events()
	require.Less(t, slices.Index(events, "worker.ready"), slices.Index(events, "session.assigned waiting"))
}

func TestSessionsOfABrowserThatHangsAreClosed(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat = time.Hour }).joined()
	m.open("one", "two")
	m.Browser(browser.State{Why: "it opens no pages", Hung: true})
	require.Equal(t, "browser_hung", m.awaitEnding("one").Reason)
	require.Contains(t, m.awaitEnding("two").Text, "connect again")
	m.awaitEvent("worker.unhealthy browser_hung")
	m.close("one", "browser_hung")
	m.awaitEvent("session.ended one browser_hung")
	m.up()
	m.awaitEvent("worker.ready")
}

func TestACrashDuringTheJoinIsNotMissed(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat = time.Hour })
	m.store.set(func() {
		m.store.after = func(string) error {
			m.crash()
			return nil
		}
	})
	m.up()
	m.awaitState("unhealthy")
}

func TestAStartOnItsWayIsNotMissed(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat = time.Hour }).joined()
	m.acquire("s")
	made, proceed := make(chan struct{}), make(chan struct{})
	m.store.set(func() {
		m.store.after = func(call string) error {
			if call == "start" {
				close(made)
				<-proceed
			}
			return nil
		}
	})
	type result struct {
		answer state.StartAnswer
		err    error
	}
	results := make(chan result)
	go func() {
		answer, err := m.claim("s")
		results <- result{answer, err}
	}()
	<-made // it is active for the pool, and the worker does not know
	m.crash()
	m.awaitState("unhealthy") // the first heartbeat passes
	m.up()                    // the second one has to wait
	require.Never(t, func() bool { return m.count("session.ended") > 0 || m.state() == "ready" }, 300*time.Millisecond, 10*time.Millisecond)
	close(proceed)
	r := <-results
	require.NoError(t, r.err)
	require.Equal(t, state.StartOK, r.answer)
	m.awaitState("ready")
	require.Zero(t, m.count("session.ended"))
	m.close("s", "client_closed")
	m.awaitEvent("session.ended s client_closed")
}

func TestAStartWithoutAnAnswerEndsByItself(t *testing.T) { // I3
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.acquire("s")
	m.store.set(func() {
		m.store.after = func(call string) error {
			if call == "start" {
				return errors.New("the reply was lost")
			}
			return nil
		}
	})
	_, err := m.claim("s")
	require.Error(t, err)
	m.awaitEvent("session.ended s worker_closed")
}

func TestRedisWithoutMemoryIsNamedAsTheReason(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.open("one")
	c := m.redis.Connect(func(bool, string) {})
	memory := func(limit string) {
		require.NoError(t, c.Do(t.Context(), c.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", limit).Build()).Error())
	}
	memory("1")
	m.close("one", "client_closed")
	testkit.Await(t, "it notices", func() bool { return strings.HasPrefix(m.why(), "Redis refuses writes: it is out of memory") })
	memory("0")
	m.awaitEvent("session.ended one client_closed")
	testkit.Await(t, "it is back", func() bool { return m.why() == "" })
}

func TestWhatEndsWithoutRedisIsReportedLater(t *testing.T) { // I2, I7
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.open("one", "two", "three")
	m.store.set(func() { m.store.err = errors.New("gone") })
	m.close("one", "client_closed")
	m.close("two", "worker_closed")
	testkit.Await(t, "it notices", func() bool { return m.why() == "Redis cannot be reached" })
	_, err := m.claim("four")
	require.Error(t, err)
	<-time.After(300 * time.Millisecond)
	require.Zero(t, m.count("session.ended"))
	require.Equal(t, 1, m.Live(), "the third goes on")
	m.store.set(func() { m.store.err = nil })
	m.awaitEvent("session.ended one client_closed")
	m.awaitEvent("session.ended two worker_closed")
	testkit.Await(t, "it is back", func() bool { return m.why() == "" })
	require.Equal(t, 2, m.count("session.ended"))
	late := m.event("session.ended one")
	require.NotEmpty(t, late["happened"])
	require.Equal(t, "1 2 3 4", strings.Join([]string{late["bytes_up"], late["bytes_down"], late["messages_up"], late["messages_down"]}, " "))
	_, told := m.ending("three")
	require.False(t, told)
}

// event returns the fields of the first event that begins so.
func (m *member) event(line string) map[string]string {
	m.t.Helper()
	entries, err := m.pool.Client.Do(context.Background(), m.pool.Client.B().Arbitrary("XRANGE").Keys(m.pool.Keys.Events()).Args("-", "+").Build()).AsXRange()
	require.NoError(m.t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.FieldValues["type"]+" "+e.FieldValues["session"], line) {
			return e.FieldValues
		}
	}
	m.t.Fatal("no event " + line)
	return nil
}

func TestAReportWhoseReplyIsLostIsNotCountedTwice(t *testing.T) { // I2
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.open("s")
	var lost atomic.Bool
	m.store.set(func() {
		m.store.after = func(call string) error {
			if call == "finish" && lost.CompareAndSwap(false, true) {
				return errors.New("the reply was lost")
			}
			return nil
		}
	})
	m.close("s", "client_closed")
	testkit.Await(t, "it is lost", lost.Load)
	before := m.number()
	testkit.Await(t, "it is reported again", func() bool { return m.number() != before })
	require.Equal(t, 1, m.count("session.ended"))
}

func TestAnEmptyRedisLearnsEverythingAgain(t *testing.T) { // I7
	m := newMember(t, func(o *registrar.Options) { o.Worker.Lifetime = 10 }).joined()
	m.open("one", "two")
	for round := range 2 {
		if round == 0 {
			m.pool.Do("FLUSHALL")
		} else {
			m.redis.Kill()
			m.redis.Start()
		}
		m.awaitState("ready")
		testkit.Await(t, "its sessions are back", func() bool {
			return m.pool.Session("one")["state"] == "active" && m.pool.Session("two")["state"] == "active"
		})
		require.ElementsMatch(t, []string{"one", "two"}, m.pool.Do("SMEMBERS", m.pool.Keys.Held(worker)))
		require.Equal(t, []string{"2"}, m.pool.Do("GET", m.pool.Keys.Served(worker)))
		require.Equal(t, proxy, m.pool.Session("one")["proxy"])
		require.JSONEq(t, `{"l":"1"}`, m.pool.Session("one")["labels"])
	}
	_, told := m.ending("one")
	require.False(t, told, "a session survives an empty Redis")
	m.close("one", "client_closed")
	m.awaitEvent("session.ended one client_closed")
	require.Equal(t, 1, m.count("session.ended"))
}

// The first that an empty Redis hears of is the end of a session.
func TestAnEndThatAnEmptyRedisIsToldFirst(t *testing.T) { // I2
	for name, goes := range map[string]bool{"by finish": false, "by leave": true} {
		t.Run(name, func(t *testing.T) {
			m := newMember(t, func(o *registrar.Options) { o.Heartbeat, o.Drain = time.Hour, time.Hour }).joined()
			m.open("s")
			var stopping sync.WaitGroup
			defer stopping.Wait()
			if goes {
				stopping.Go(func() { m.stop(testkit.Patience) })
				m.awaitState("retiring")
			}
			m.pool.Do("FLUSHALL")
			m.close("s", "client_closed")
			m.awaitEvent("session.ended s client_closed")
			require.Equal(t, 1, m.count("session.ended"))
		})
	}
}

func TestAnEndIsNotTakenForAnAbsence(t *testing.T) { // I2
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat = time.Hour }).joined()
	m.open("known", "lost")
	m.store.set(func() { m.store.err = errors.New("gone") })
	m.close("known", "client_closed")
	m.close("lost", "client_closed")
	testkit.Await(t, "it notices", func() bool { return m.why() == "Redis cannot be reached" })
	m.pool.Do("DEL", m.pool.Keys.Session("lost")) // as a failover may
	m.pool.Do("SREM", m.pool.Keys.Held(worker), "lost")
	m.pool.Do("DEL", m.pool.Keys.Worker(worker))
	m.store.set(func() { m.store.err = nil })
	m.Redis(true)
	for _, s := range []string{"known", "lost"} {
		m.awaitEvent("session.ended " + s + " client_closed")
		require.Equal(t, "1", m.event("session.ended " + s)["bytes_up"])
	}
	require.Equal(t, 2, m.count("session.ended"))
	require.Empty(t, m.pool.Do("SMEMBERS", m.pool.Keys.Held(worker)))
}

// Where each call takes long, sessions end faster than it is told.
func TestHeartbeatsDoNotWaitForTheLastEnd(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat, o.Worker.Slots = 50*time.Millisecond, 1000 }).joined()
	next := 0
	end := func() {
		next++
		s := fmt.Sprint("s", next)
		m.open(s)
		m.close(s, "client_closed")
	}
	m.store.set(func() {
		m.store.after = func(call string) error {
			if call == "finish" {
				end() // while it is away
			}
			return nil
		}
	})
	end()
	before := m.store.calls("heartbeat")
	testkit.Await(t, "heartbeats go on", func() bool { return m.store.calls("heartbeat") > before+3 })
	m.store.set(func() { m.store.after = nil })
}

// The slot of a session whose end is untold may have another one by now: an empty Redis hears of the end first.
func TestAnEmptyRedisNeverHasMoreThanTheSlots(t *testing.T) { // I1
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat, o.Worker.Slots = time.Hour, 1 }).joined()
	m.open("first")
	m.store.set(func() { m.store.err = errors.New("gone") })
	m.close("first", "client_closed")
	testkit.Await(t, "it notices", func() bool { return m.why() == "Redis cannot be reached" })
	require.NoError(t, m.pool.Finish(context.Background(), state.SideProxy, proxy, state.End{Session: "first", Reason: "client_closed"}))
	m.store.set(func() { m.store.err = nil })
	m.open("second")
	m.pool.Do("FLUSHALL")
	m.Redis(true)
	m.awaitEvent("session.started second")
	var order []string
	for _, e := range m.pool.Events() {
		if strings.HasPrefix(e, "session.") {
			order = append(order, e)
		}
	}
	require.Equal(t, []string{"session.started first", "session.ended first client_closed", "session.started second"}, order)
}

func TestWhatThePoolHasEndedIsClosed(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.open("s")
	_, err := m.pool.Cancel(context.Background(), "s", proxy, "killed")
	require.NoError(t, err)
	require.Equal(t, gate.Ending{Reason: "killed", Text: "the pool has ended this session"}, m.awaitEnding("s"))
	m.close("s", "killed")
	testkit.Await(t, "it is gone", func() bool { return m.Live() == 0 })
	before := m.number()
	testkit.Await(t, "another heartbeat", func() bool { return m.number() != before })
	require.Equal(t, 1, m.count("session.ended"))
}

func TestAWorkerRetiresAtTheEndOfItsLifetime(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Worker.Lifetime = 2 }).joined()
	m.open("one")
	m.close("one", "client_closed")
	m.open("two") // the last one
	m.awaitState("retiring")
	before := m.number()
	testkit.Await(t, "it beats on", func() bool { return m.number() != before })
	testkit.Await(t, "it knows", func() bool { return m.why() == "it is retiring" })
	select {
	case <-m.Done():
		t.Fatal("it went with a session running")
	default:
	}
	m.close("two", "client_closed")
	require.NoError(t, m.done())
	require.Equal(t, 1, m.count("worker.left"))
	require.Equal(t, 2, m.count("session.ended"))
	require.Empty(t, m.state())
	m.stop(0) // has nothing left to do
}

func (m *member) done() error {
	m.t.Helper()
	select {
	case err := <-m.Done():
		return err
	case <-time.After(testkit.Patience):
		m.t.Fatal("it does not end")
		return nil
	}
}

func TestASessionAssignedBeforeRetirementStillStarts(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Worker.Lifetime = 2 }).joined()
	m.acquire("one")
	m.acquire("two")
	for _, s := range []string{"one", "two"} {
		answer, err := m.claim(s)
		require.NoError(t, err)
		require.Equal(t, state.StartOK, answer)
	}
	m.awaitState("retiring")
	m.close("one", "client_closed")
	m.close("two", "client_closed")
	require.NoError(t, m.done())
}

func TestAWorkerServesOnWhileAnotherRetires(t *testing.T) {
	first := newMember(t, func(o *registrar.Options) { o.Worker.Lifetime = 1 }).joined()
	first.open("one")
	first.awaitState("retiring")
	second := newMemberOf(t, first.redis, func(o *registrar.Options) { o.Worker.ID, o.Worker.Lifetime = "w2", 1 })
	second.up()
	testkit.Await(t, "the second one is ready", func() bool { return second.why() == "" })
	second.open("two")
	key := second.pool.Keys.Worker("w2")
	testkit.Await(t, "its lifetime is longer", func() bool { return second.pool.Field(key, "lifetime") == "4" })
	require.Equal(t, "ready", second.pool.Field(key, "state"))
	first.close("one", "client_closed")
	require.NoError(t, first.done())
}

func TestAWorkerRetiresEarly(t *testing.T) {
	first := newMember(t, func(*registrar.Options) {}).joined()
	first.open("one")
	first.Retire(state.RetireMemory)
	first.awaitEvent("worker.retiring memory")

	// Another one has to serve on, and goes when the first one has been replaced,
	// even if it is idle.
	second := newMemberOf(t, first.redis, func(o *registrar.Options) { o.Worker.ID = "w2" })
	second.up()
	testkit.Await(t, "the second one is ready", func() bool { return second.why() == "" })
	second.Retire(state.RetireMemory)
	testkit.Await(t, "it has asked twice", func() bool { return second.store.calls("retire") >= 2 })
	require.Equal(t, 1, first.count("worker.retiring"))
	require.Equal(t, "0", second.pool.Field(second.pool.Keys.Worker("w2"), "lifetime"))
	second.acquire("two")
	answer, err := second.claim("two")
	require.NoError(t, err)
	require.Equal(t, state.StartOK, answer)
	second.close("two", "client_closed")

	first.close("one", "client_closed")
	require.NoError(t, first.done())
	first.awaitEvent("worker.left memory")
	require.Equal(t, 1, first.count("worker.retiring"), "the place of the first one is kept")
	fresh := newMemberOf(t, first.redis, func(o *registrar.Options) { o.Worker.ID = "w3" }) // at its endpoint
	fresh.up()
	require.NoError(t, second.done())
	require.Equal(t, 2, first.count("worker.left memory"))
}

func TestADrainLetsSessionsFinish(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.open("s")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.stop(testkit.Patience)
	}()
	m.awaitState("retiring")
	testkit.Await(t, "it knows", func() bool { return m.why() == "it is retiring" })
	before := m.number()
	testkit.Await(t, "it beats on", func() bool { return m.number() != before })
	select {
	case <-stopped:
		t.Fatal("it went with a session running")
	default:
	}
	m.close("s", "client_closed")
	<-stopped
	require.Equal(t, 1, m.count("session.ended s client_closed"))
	require.Equal(t, 1, m.count("worker.left drain"))
	_, told := m.ending("s")
	require.False(t, told)
}

func TestADrainEnds(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Drain = 200 * time.Millisecond }).joined()
	m.open("s")
	m.acquire("never started")
	m.stop(testkit.Patience)
	require.Equal(t, 1, m.count("session.ended s worker_drained"))
	require.Equal(t, 1, m.count("worker.left drain"))
	e, _ := m.ending("s")
	require.Equal(t, gate.Ending{Reason: "worker_drained", Text: "the worker is going away"}, e)
}

func TestADrainWithoutRedis(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.open("s")
	m.redis.Kill()
	testkit.Await(t, "it notices", func() bool { return m.why() == "Redis cannot be reached" })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.stop(testkit.Patience)
	}()
	select {
	case <-stopped:
		t.Fatal("it went with a session running")
	case <-time.After(300 * time.Millisecond):
	}
	m.close("s", "client_closed")
	select {
	case <-stopped:
	case <-time.After(testkit.Patience):
		t.Fatal("it waits for Redis")
	}
}

func TestAStopBeforeTheFirstJoinIsQuick(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {})
	m.stop(testkit.Patience)
	require.Empty(t, m.pool.Events())
}

func TestAReplacedWorkerGoes(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {}).joined()
	m.open("s")
	_, err := m.pool.Join(context.Background(), state.JoinRequest{
		Worker: state.Worker{ID: "w9", Endpoint: endpoint, Browser: "chromium", Playwright: "1.65.1", Slots: 1}, State: state.Ready, Number: 1,
	})
	require.NoError(t, err)
	require.ErrorContains(t, m.done(), "worker w9 has joined the pool at this worker's endpoint "+endpoint)
	m.awaitEnding("s")
	m.close("s", "killed")
	m.stop(testkit.Patience)
	require.Equal(t, 1, m.count("session.ended"))
}

func TestAnotherReleasesDataIsFinal(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {})
	m.pool.Do("SET", m.pool.Keys.Schema(), "999")
	m.up()
	require.ErrorIs(t, m.done(), state.ErrSchema)
}

func TestANumberThatIsBehindIsRaised(t *testing.T) {
	m := newMember(t, func(o *registrar.Options) { o.Heartbeat = time.Hour }).joined()
	m.pool.Do("ZADD", m.pool.Keys.Beats(), "50", worker)
	m.crash()
	m.awaitState("unhealthy")
	require.Equal(t, "51", m.number())
}

func TestAPoolWithTooManyKindsOfWorkersSaysSo(t *testing.T) {
	m := newMember(t, func(*registrar.Options) {})
	for i := range state.DefaultOptions().MaxFlavours {
		_, err := m.pool.Join(context.Background(), state.JoinRequest{Worker: state.Worker{
			ID: fmt.Sprint("x", i), Endpoint: fmt.Sprint("h:", i), Browser: "chromium", Playwright: "1.1.1", Slots: 1, Labels: map[string]string{"i": fmt.Sprint(i)},
		}, State: state.Ready, Number: 1})
		require.NoError(t, err)
	}
	m.up()
	testkit.Await(t, "it says so", func() bool { return strings.Contains(m.why(), "as many kinds of workers as it may") })
	_, err := m.pool.Leave(context.Background(), "x0", state.RetireDrain, 2, true)
	require.NoError(t, err)
	m.awaitState("ready")
	testkit.Await(t, "it serves", func() bool { return m.why() == "" })
}
