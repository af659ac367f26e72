package state_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// busy is a pool of a Redis of its own that can be held.
type busy struct {
	*pool
	calls rueidis.Client // of the pool
	own   own
}

func newBusy(t *testing.T) busy {
	t.Helper()
	own := newOwn(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:" + own.port}, DisableCache: true, DisableRetry: true, ForceSingleClient: true, PipelineMultiplex: -1,
		AlwaysPipelining: true, // else who leaves waits for the answer of a call that is alone
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	p := openPool(t, client, options())
	p.SetPatience(time.Hour) // who waits does so until a call has ended
	return busy{p, client, own}
}

func (b busy) tell(args ...string) string {
	b.t.Helper()
	text, err := b.own.client.Do(ctx, b.own.client.B().Arbitrary(args...).Build()).ToString()
	require.NoError(b.t, err)
	return text
}

func (b busy) hold()    { b.tell("CLIENT", "PAUSE", "60000", "WRITE") }
func (b busy) goOn()    { b.tell("CLIENT", "UNPAUSE") }
func (b busy) forgets() { b.tell("CONFIG", "RESETSTAT") }

// called is how many functions were called since forgets.
func (b busy) called() int {
	b.t.Helper()
	m := regexp.MustCompile(`cmdstat_fcall:calls=(\d+)`).FindStringSubmatch(b.tell("INFO", "commandstats"))
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	require.NoError(b.t, err)
	return n
}

// idle waits until nothing is under way.
func (b busy) idle() {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.Gathered() == 0 }, 20*time.Second, time.Millisecond)
}

// ask asks for a slot beside others. The function returned waits for the answer.
func (b busy) ask(c context.Context, id string) func() (state.Standing, error) {
	b.t.Helper()
	r := request(id)
	r.QueueLimit = 1000
	return b.request(c, r)
}

// askAll does so for n sessions.
func (b busy) askAll(c context.Context, prefix string, n int) (answers []func() (state.Standing, error)) {
	b.t.Helper()
	for i := range n {
		answers = append(answers, b.ask(c, fmt.Sprint(prefix, i)))
	}
	return answers
}

// all holds that requests were answered so.
func (b busy) all(phase state.Phase, answers ...func() (state.Standing, error)) {
	b.t.Helper()
	for _, answer := range answers {
		st, err := answer()
		require.NoError(b.t, err)
		require.Equal(b.t, phase, st.Phase)
	}
}

func (b busy) request(c context.Context, r state.Request) func() (state.Standing, error) {
	b.t.Helper()
	var st state.Standing
	var err error
	done := make(chan struct{})
	before := b.Gathered()
	go func() {
		defer close(done)
		st, err = b.Acquire(c, r)
	}()
	// One after the other, so that it is known who came before whom.
	require.Eventually(b.t, func() bool { return b.Gathered() > before }, 20*time.Second, time.Millisecond)
	return func() (state.Standing, error) {
		<-done
		return st, err
	}
}

// What is asked for while calls are under way goes to Redis in few more, and who has left by then is not asked for.
func TestRequestsAreGathered(t *testing.T) {
	b := newBusy(t)
	b.join(worker("w1", 25))
	b.forgets()
	b.hold()
	answers := b.askAll(ctx, "s", 30)
	leaving, leave := context.WithCancel(ctx)
	left := b.ask(leaving, "left")
	leave()
	_, err := left()
	require.ErrorIs(t, err, context.Canceled, "at once, though Redis stands still")
	b.goOn()
	granted, places := 0, map[int]bool{}
	for i, answer := range answers {
		st, err := answer()
		require.NoError(t, err)
		if st.Phase == state.Assigned {
			require.Equal(t, fmt.Sprint("s", i), st.Grant.Session)
			granted++
			continue
		}
		require.Equal(t, state.Queued, st.Phase)
		places[st.Place] = true
	}
	require.Equal(t, 25, granted)
	require.Equal(t, map[int]bool{1: true, 2: true, 3: true, 4: true, 5: true}, places)
	require.NotContains(t, b.dump().hash, "session:left")
	require.Equal(t, state.AcquireCalls+2, b.called(), "the first, and two for the other 28")
	b.idle()
}

// Each request of a call is answered by itself.
func TestGatheredRequestsAreAnsweredOneByOne(t *testing.T) {
	b := newBusy(t)
	b.join(worker("w1", 1))
	b.acquire("known")
	b.hold()
	first := b.askAll(ctx, "first", state.AcquireCalls)
	known := b.ask(ctx, "known")
	waits := b.ask(ctx, "waits")
	again := b.ask(ctx, "waits")
	b.goOn()
	b.all(state.Queued, first...)
	st, err := known()
	require.NoError(t, err)
	require.Equal(t, "w1", st.Grant.Worker)
	for _, answer := range []func() (state.Standing, error){waits, again} {
		st, err := answer()
		require.NoError(t, err)
		require.Equal(t, state.Queued, st.Phase)
		require.Equal(t, state.AcquireCalls+1, st.Place)
	}
}

// A call serves all whose requests are in it: it goes on when the first of them has left, and fails for all.
func TestGatheredRequestsDoNotDependOnEachOther(t *testing.T) {
	for name, may := range map[string]time.Duration{"without a deadline": 0, "with deadlines": time.Minute} {
		t.Run(name, func(t *testing.T) {
			b := newBusy(t)
			b.join(worker("w1", 25))
			within := func(more time.Duration) (context.Context, context.CancelFunc) {
				if may == 0 {
					return context.WithCancel(ctx)
				}
				return context.WithTimeout(ctx, may+more)
			}
			b.hold()
			var answers []func() (state.Standing, error)
			var leaves []context.CancelFunc
			for i := range state.AcquireCalls + 2 {
				c, leave := within(time.Duration(-i) * time.Second)
				defer leave()
				leaves = append(leaves, leave)
				answers = append(answers, b.ask(c, fmt.Sprint("s", i)))
			}
			last, leave := within(time.Second)
			defer leave()
			stays := b.ask(last, "stays")
			for i, leave := range leaves { // the first make room for a call of the others
				leave()
				_, err := answers[i]()
				require.ErrorIs(t, err, context.Canceled)
			}
			b.goOn()
			b.all(state.Assigned, stays)
			b.idle()
		})
	}
}

// The call of several lasts as long as the most patient of them.
func TestGatheredRequestsMayHaveDeadlines(t *testing.T) {
	b := newBusy(t)
	b.join(worker("w1", 25))
	b.hold()
	var first []context.CancelFunc
	for i := range state.AcquireCalls {
		c, leave := context.WithCancel(ctx)
		defer leave()
		first = append(first, leave)
		b.ask(c, fmt.Sprint("s", i))
	}
	ask := func(id string, limit time.Duration) func() (state.Standing, error) {
		c, done := context.WithTimeout(ctx, limit)
		t.Cleanup(done)
		return b.ask(c, id)
	}
	patient := ask("patient", time.Minute)
	hasty := ask("hasty", time.Second)
	for _, leave := range first {
		leave()
	}
	_, err := hasty()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	b.goOn()
	b.all(state.Assigned, patient)
}

// Where calls are stuck nobody waits for them: a request that was sent has its place in line.
func TestGatheredRequestsDoNotWaitForLong(t *testing.T) {
	b := newBusy(t)
	b.hold()
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	gone := b.ask(leaving, "gone")
	var all []func() (state.Standing, error)
	ask := func(n int) {
		for range n {
			all = append(all, b.ask(ctx, fmt.Sprint("s", len(all))))
		}
	}
	ask(state.AcquireCalls - 1 + 20)
	require.Equal(t, 20, b.Unsent())
	b.Hurry()
	require.Zero(t, b.Unsent())
	ask(10)
	leave()
	_, err := gone()
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 10, b.Unsent(), "there are more calls than usual, so the next one has time")

	b.SetPatience(time.Millisecond)
	ask(1)
	require.Equal(t, 11, b.Unsent(), "the first of them is more patient")
	b.Hurry()
	ask(1)
	require.Eventually(t, func() bool { return b.Unsent() == 0 }, 20*time.Second, time.Millisecond)
	b.goOn()
	b.all(state.Queued, all...)
	b.idle()
}

// Those that one call has no room for wait as long once more.
func TestGatheredRequestsThatAreLeft(t *testing.T) {
	b := newBusy(t)
	b.hold()
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	b.askAll(leaving, "gone", state.AcquireCalls)
	all := b.askAll(ctx, "s", 16*state.AcquireCalls+1)
	b.SetPatience(time.Millisecond)
	leave()
	require.Eventually(t, func() bool { return b.Unsent() == 0 }, 20*time.Second, time.Millisecond)
	b.goOn()
	b.all(state.Queued, all...)
	b.idle()
}

// A proxy that brings its clients back asks for one after the other, beside others.
func TestRequestsMadeAgainAreNotGathered(t *testing.T) {
	b := newBusy(t)
	b.hold()
	all := b.askAll(ctx, "s", state.AcquireCalls+1)
	before := b.Unsent()
	again := request("again")
	again.Again = true
	all = append(all, b.request(ctx, again))
	require.Equal(t, before, b.Unsent())
	b.goOn()
	b.all(state.Queued, all...)
	b.idle()
}

// What is wrong with one of them is nothing to the others.
func TestGatheredRequestOfADamagedToken(t *testing.T) {
	b := newBusy(t)
	b.join(worker("w1", 25))
	_, err := b.own.client.Do(ctx, b.own.client.B().Set().Key(b.k.Token("damaged")).Value("a text").Build()).ToString()
	require.NoError(t, err)
	b.hold()
	others := b.askAll(ctx, "s", state.AcquireCalls+2)
	r := request("ill")
	r.Token, r.TokenSessions = "damaged", 5
	ill := b.request(ctx, r)
	others = append(others, b.ask(ctx, "behind"))
	b.goOn()
	b.all(state.Assigned, others...)
	_, err = ill()
	require.ErrorContains(t, err, "WRONGTYPE")
	b.idle()
}

func TestGatheredRequestsFailTogether(t *testing.T) {
	b := newBusy(t)
	b.hold()
	all := b.askAll(ctx, "s", state.AcquireCalls+3)
	b.calls.Close()
	for _, answer := range all {
		_, err := answer()
		require.Error(t, err)
	}
	b.idle()
}

// In a crowd everybody gets an answer, which is that of the pool.
func TestCrowdIsAnswered(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 100))
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			r := request(fmt.Sprint("s", i))
			r.QueueLimit = 1000
			st, err := p.Acquire(ctx, r)
			if err != nil || st.Phase != state.Assigned && st.Phase != state.Queued {
				t.Error(i, st, err)
			}
			if st.Phase == state.Assigned && st.Grant.Session != r.Session {
				t.Error(i, st)
			}
		})
	}
	all.Wait()
	p.check()
	require.Len(t, p.dump().set["held:w1"], 100)
	require.Len(t, p.dump().zset["waiting"], 200)
}
