package fleet

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/redistest"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const patience = 20 * time.Second

// hints are given by hand.
type hints struct {
	wake chan struct{}
	mu   sync.Mutex
	keys []string
	all  bool
}

func (h *hints) give(all bool, keys ...string) {
	h.mu.Lock()
	h.all = h.all || all
	h.keys = append(h.keys, keys...)
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hints) Wake() <-chan struct{} { return h.wake }

func (h *hints) Take() (keys []string, resync bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys, resync = h.keys, h.all
	h.keys, h.all = nil, false
	return keys, resync
}

// source fails on demand, and reports each read when it is over.
type source struct {
	*state.Store
	mu    sync.Mutex
	down  error
	reads chan string
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

func (s *source) read(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.reads <- what:
	default:
	}
	return s.down
}

func (s *source) Fleet(ctx context.Context) (map[string]state.Member, int64, error) {
	if err := s.read("fleet"); err != nil {
		return nil, 0, err
	}
	return s.Store.Fleet(ctx)
}

func (s *source) Changes(ctx context.Context, after int64) (ids []string, rev int64, ok bool, err error) {
	if err := s.read("changes"); err != nil {
		return nil, 0, false, err
	}
	return s.Store.Changes(ctx, after)
}

// clock is a time that is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a fleet that runs on a pool of its own.
type rig struct {
	*Fleet
	t     *testing.T
	hints *hints
	from  *source
	clock *clock
}

func start(t *testing.T) *rig {
	t.Helper()
	s := redistest.Store(t, client, state.DefaultOptions(), nil)
	r := &rig{t: t, hints: &hints{wake: make(chan struct{}, 1)}, from: &source{Store: s, reads: make(chan string, 100)},
		clock: &clock{now: time.Unix(1000, 0)}}
	r.Fleet = New(r.from, r.hints, s.Keys(), zap.NewNop())
	r.now = r.clock.Now
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return r
}

func (r *rig) sync() {
	r.t.Helper()
	r.hints.give(true)
	select {
	case <-r.Ready():
	case <-time.After(patience):
		require.Fail(r.t, "the fleet is never ready")
	}
}

func (r *rig) until(what string, ok func(*Snapshot) bool) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return ok(r.Snapshot()) }, patience, time.Millisecond, what)
}

func (r *rig) has(ids ...string) {
	r.t.Helper()
	r.until("the workers", func(s *Snapshot) bool {
		for _, id := range ids {
			if _, there := s.Workers[id]; !there {
				return false
			}
		}
		return len(s.Workers) == len(ids)
	})
}

func (r *rig) join(id string) { redistest.Join(r.t, r.from.Store, redistest.Worker(id, 2)) }

func (r *rig) leave(id string) {
	r.t.Helper()
	_, err := r.from.Leave(r.t.Context(), id, state.RetireDrain, 2, true)
	require.NoError(r.t, err)
}

func (r *rig) forgetReads() {
	for len(r.from.reads) > 0 {
		<-r.from.reads
	}
}

func (r *rig) nextRead() string {
	r.t.Helper()
	select {
	case what := <-r.from.reads:
		return what
	case <-time.After(patience):
		require.Fail(r.t, "nothing is read")
		return ""
	}
}

func TestNotReadyBeforeTheFirstRead(t *testing.T) {
	r := start(t)
	r.join("w1")
	select {
	case <-r.Ready():
		require.Fail(t, "nothing was read yet")
	default:
	}
	require.Empty(t, r.Snapshot().Workers)
	r.sync()
	r.has("w1")
	w := redistest.Worker("w1", 2)
	require.Equal(t, state.Member{Worker: w, State: state.Ready, FlavourKey: w.Flavour().Key()}, r.Snapshot().Workers["w1"])
}

func TestHintsAreFollowed(t *testing.T) {
	r := start(t)
	r.sync()
	r.forgetReads()
	before := r.Snapshot()

	r.join("w1")
	r.hints.give(false, r.keys.Worker("w1"), "a key of somebody else")
	r.has("w1")
	require.Equal(t, "changes", r.nextRead(), "a hint does not read everything")
	require.Empty(t, before.Workers, "a snapshot that was taken stays as it was")

	r.leave("w1")
	r.hints.give(false, r.keys.Worker("w1"))
	r.has()
}

func TestRevisionOfAReplyStandsInForAHint(t *testing.T) {
	r := start(t)
	r.sync()
	r.join("w1")
	r.Heard(r.Snapshot().Rev + 1)
	r.has("w1")
	require.Equal(t, int64(1), r.Snapshot().Rev)

	// What is known already is not read again.
	r.forgetReads()
	r.Heard(1)
	r.Heard(0)
	r.join("w2")
	r.Heard(2)
	r.has("w1", "w2")
	require.Equal(t, "changes", r.nextRead())
	require.Empty(t, r.from.reads)
}

func TestResyncReadsEverything(t *testing.T) {
	r := start(t)
	r.sync()
	r.forgetReads()
	r.join("w1")
	r.hints.give(true)
	r.has("w1")
	require.Equal(t, "fleet", r.nextRead())
}

func TestResetForgetsTheRevision(t *testing.T) {
	r := start(t)
	r.sync()
	for _, id := range []string{"w1", "w2", "w3"} {
		r.join(id)
	}
	r.Heard(3)
	r.has("w1", "w2", "w3")

	require.NoError(t, client.Do(t.Context(), client.B().Flushall().Build()).Error())
	r.join("w4")
	r.Reset()
	r.has("w4")
	require.Equal(t, int64(1), r.Snapshot().Rev)

	// A revision that is low, as it is again, counts.
	r.join("w5")
	r.Heard(2)
	r.has("w4", "w5")
}

// A failover that loses the last revisions is no new data set: they come again, and are heard of.
func TestRevisionsThatAFailoverLostAreHeardAgain(t *testing.T) {
	r := start(t)
	r.sync()
	r.join("w1")
	r.Heard(9)
	r.hints.give(true)
	r.has("w1")
	r.join("w2")
	r.Heard(2)
	r.has("w1", "w2")
}

func TestRevisionOfALostDataSetShowsInTheRead(t *testing.T) {
	r := start(t)
	r.sync()
	r.join("w1")
	r.join("w2")
	r.Heard(2)
	r.has("w1", "w2")
	require.NoError(t, client.Do(t.Context(), client.B().Flushall().Build()).Error())
	r.join("w3")
	r.hints.give(false, r.keys.Worker("w3"))
	r.has("w3")
}

// A proxy that has just started knows of those as well of which the last one went before that.
func TestGoneBeforeTheFirstRead(t *testing.T) {
	r := start(t)
	r.join("w1")
	r.leave("w1")
	r.sync()
	flavour := redistest.Worker("w1", 2).Flavour()
	require.Equal(t, map[string]Departed{flavour.Key(): {Flavour: flavour, Since: time.Unix(1000, 0)}}, r.Snapshot().Gone)
}

func TestGoneIsKeptForAMinute(t *testing.T) {
	r := start(t)
	r.join("w1")
	r.sync()
	flavour := redistest.Worker("w1", 2).Flavour()
	r.leave("w1")
	r.hints.give(false, r.keys.Worker("w1"))
	r.has()
	require.Equal(t, map[string]Departed{flavour.Key(): {Flavour: flavour, Since: time.Unix(1000, 0)}}, r.Snapshot().Gone)

	// It comes back, and goes again.
	r.join("w2")
	r.hints.give(false, r.keys.Worker("w2"))
	r.has("w2")
	require.Empty(t, r.Snapshot().Gone)
	r.clock.add(10 * time.Second)
	r.leave("w2")
	r.hints.give(false, r.keys.Worker("w2"))
	r.has()
	require.Equal(t, time.Unix(1010, 0), r.Snapshot().Gone[flavour.Key()].Since)

	// Another change keeps its time, until its minute is over.
	other := redistest.Worker("f1", 1)
	other.Browser = "firefox"
	r.clock.add(memory - time.Second)
	redistest.Join(t, r.from.Store, other)
	r.hints.give(true)
	r.has("f1")
	require.Equal(t, time.Unix(1010, 0), r.Snapshot().Gone[flavour.Key()].Since)
	r.clock.add(time.Second)
	r.hints.give(true)
	r.until("forgotten", func(s *Snapshot) bool { return len(s.Gone) == 0 })
}

func TestFailingSourceKeepsWhatIsKnown(t *testing.T) {
	r := start(t)
	r.join("w1")
	r.sync()
	r.has("w1")
	r.forgetReads()

	r.from.fail(errors.New("redis is away"))
	r.join("w2")
	r.hints.give(false, r.keys.Worker("w2"))
	require.Equal(t, "changes", r.nextRead())
	require.Len(t, r.Snapshot().Workers, 1)

	// A hint while it is away is followed at once, and everything is read.
	r.hints.give(false, "a key")
	require.Equal(t, "fleet", r.nextRead())
	r.from.fail(nil)
	r.hints.give(true)
	r.has("w1", "w2")
}

func TestFailureThatBreaksNoSubscriptionIsTriedAgain(t *testing.T) {
	r := start(t)
	r.sync()
	r.join("w1")
	r.forgetReads()
	r.from.fail(errors.New("busy"))
	r.Heard(1)
	require.Equal(t, "changes", r.nextRead())
	r.from.fail(nil)
	r.has("w1") // by its timer alone
}

func TestOnRealHints(t *testing.T) {
	s := redistest.Store(t, client, state.DefaultOptions(), nil)
	w := redisx.NewWatcher(client, redisx.DB(client), redisx.EscapeGlob(s.Keys().Worker(""))+"*", zap.NewNop())
	f := New(s, w, s.Keys(), zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	r := &rig{Fleet: f, t: t, from: &source{Store: s}}
	<-f.Ready()
	r.join("w1")
	r.has("w1")
	r.leave("w1")
	r.has()
}

func TestFollowerHearsWhoIsMissed(t *testing.T) {
	s := redistest.Store(t, client, state.DefaultOptions(), nil)
	h := &hints{wake: make(chan struct{}, 1)}
	f := New(s, h, s.Keys(), zap.NewNop())
	type told struct{ missed, back []string }
	heard := make(chan told, 10)
	f.Follow(func(missed, back []string) { heard <- told{missed, back} })
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	next := func() told {
		t.Helper()
		select {
		case one := <-heard:
			return one
		case <-time.After(patience):
			require.Fail(t, "nothing is told")
			return told{}
		}
	}
	redistest.Join(t, s, redistest.Worker("w1", 2))
	h.give(true)
	require.Equal(t, told{back: []string{"w1"}}, next())
	require.True(t, f.Snapshot().Has("w1"))

	st, err := s.Acquire(t.Context(), state.Request{Session: "s1", Proxy: "p1", Demand: state.Demand{Browser: "chromium"}})
	require.NoError(t, err)
	_, err = s.Reassign(t.Context(), "s1", "w1", st.Grant.Attempt)
	require.NoError(t, err)
	h.give(false, f.keys.Worker("w1"))
	require.Equal(t, told{missed: []string{"w1"}}, next(), "it could not be dialled")
	require.False(t, f.Snapshot().Has("w1"))

	_, err = s.Leave(t.Context(), "w1", state.RetireDrain, 2, true)
	require.NoError(t, err)
	redistest.Join(t, s, redistest.Worker("w2", 2))
	h.give(true)
	require.Equal(t, told{back: []string{"w2"}}, next(), "that w1 is missed is known")
	require.False(t, f.Snapshot().Has("w1"))
	_, err = s.Leave(t.Context(), "w2", state.RetireDrain, 2, true)
	require.NoError(t, err)
	h.give(false, f.keys.Worker("w2"))
	require.Equal(t, told{missed: []string{"w2"}}, next())
}
