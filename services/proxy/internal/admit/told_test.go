package admit

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Who hears that it has waited long enough is out of the queue by then: nobody
// gets a slot for a client that has been sent away.
func TestTimeIsOverWhenItIsTold(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	for range 20 {
		ticket := x.Open(state.Request{Session: NewID(), Demand: state.Demand{Browser: "chromium"}}, time.Millisecond)
		_, err := ticket.Acquire(t.Context())
		require.Equal(t, refusal.WaitTimeout, refusal.From(err).Code)
		require.Empty(t, p.queue())
		require.Equal(t, state.Rejected, p.phase(ticket.request.Session))
		ticket.Close("again") // as the walk does; nothing is left to do
	}
}

// A grant that has come is used, though time was over when it was looked at.
func TestGrantThatComesWithTheEndOfTheWait(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	for range 20 {
		ticket := x.Open(state.Request{Session: "s1", Demand: state.Demand{Browser: "chromium"}}, time.Minute)
		ticket.deadline.Reset(0)
		want := state.Grant{Session: "s1", Worker: "w1", Attempt: 1}
		ticket.tell(state.Standing{Phase: state.Queued, Place: 1})
		ticket.tell(state.Standing{Phase: state.Assigned, Grant: want})
		got, err := ticket.await(t.Context(), state.Standing{Phase: state.Queued})
		require.NoError(t, err)
		require.Equal(t, want, got)
		ticket.Started()
	}
}

// News that are no grant do not make the wait longer.
func TestNewsThatComeWithTheEndOfTheWait(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	for range 20 {
		ticket := x.Open(state.Request{Session: NewID(), Demand: state.Demand{Browser: "chromium"}}, time.Minute)
		ticket.deadline.Reset(0)
		ticket.tell(state.Standing{Phase: state.Queued, Place: 1})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := ticket.await(ctx, state.Standing{Phase: state.Queued})
		cancel()
		require.Equal(t, refusal.WaitTimeout, refusal.From(err).Code)
	}
}

// One that is on its way when the wait ends is given back: the slot is free.
func TestGrantThatComesAfterTheEndOfTheWait(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	ticket := x.Open(state.Request{Session: "s1", Demand: state.Demand{Browser: "chromium"}}, time.Minute)
	st, err := p.Acquire(t.Context(), ticket.request)
	require.NoError(t, err)
	require.Equal(t, state.Queued, st.Phase)
	x.mu.Lock()
	delete(x.tickets, "s1") // the notice finds nobody
	x.mu.Unlock()
	p.join("w1", 1)
	require.Equal(t, 1, p.held("w1"))
	ticket.deadline.Reset(0)
	_, err = ticket.await(t.Context(), st)
	require.Equal(t, refusal.WaitTimeout, refusal.From(err).Code)
	require.Zero(t, p.held("w1"))
	require.Equal(t, state.Ended, p.phase("s1"))
}

// A proxy that was taken for dead learns it though the reply that says so is lost.
func TestProxyHearsThatItWasTakenForDead(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	p.waitFor("s1")
	p.forget("p1")
	x.store.lose(1, "heartbeat")
	require.Negative(t, x.heartbeat(t.Context(), false), "the reply is lost")
	x.heartbeat(t.Context(), false)
	a.refused(refusal.Lost)
	require.True(t, x.store.wasNew())
	x.heartbeat(t.Context(), false)
	require.False(t, x.store.wasNew(), "once it has heard that, it is told no more")
}

// It asks for its clients again until that works.
func TestProxyThatWasTakenForDeadAsksUntilItIsAnswered(t *testing.T) {
	p := newPool(t)
	x := p.proxy("p1")
	a := x.ask("s1", time.Minute)
	p.waitFor("s1")
	p.forget("p1")
	x.store.set(true, "acquire")
	x.heartbeat(t.Context(), false)
	x.store.set(false, "acquire")
	x.heartbeat(t.Context(), false)
	a.refused(refusal.Lost)
}

// A Redis without memory: clients hear that, whether they came before or after,
// and the heartbeat tells it, too.
func TestRedisThatRefusesWrites(t *testing.T) {
	const why = "Redis refuses writes: it is out of memory (maxmemory); raise maxmemory, or find out what fills it"
	p := newPool(t)
	standing := make(chan string, 100)
	x := p.proxy("p1", func(o *Options) { o.Standing = func(_ bool, why string) { standing <- why } })
	stays, waits := x.ask("stays", time.Minute), x.ask("s1", time.Minute)
	p.eventually("both wait", func() bool { return len(p.queue()) == 2 })
	memory := func(limit string) {
		require.NoError(t, client.Do(t.Context(), client.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", limit).Build()).Error())
	}
	memory("1")
	t.Cleanup(func() {
		client.Do(context.Background(), client.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", "0").Build())
	})
	x.SetHealth(false)
	waits.deadline.Reset(0)
	require.Regexp(t, regexp.QuoteMeta(why)+`\. It waited \S+\.$`, x.ask("s2", 300*time.Millisecond).refused(refusal.RedisUnavailable).Detail)
	require.Regexp(t, regexp.QuoteMeta(why)+`\. It waited \S+\. When it came it was number \d in line for what it asked for; in the whole pool \d waited, itself included\.$`, waits.refused(refusal.RedisUnavailable).Detail)
	x.heartbeat(t.Context(), false)
	require.Equal(t, why, next(t, standing))

	memory("0")
	x.SetHealth(true)
	require.Empty(t, next(t, standing), "at once, not with the next heartbeat")
	p.waitFor("stays")
	p.join("w1", 1)
	stays.granted("w1", 1)
}

// A pool of another release: the proxy is of no use, and says so.
func TestHeartbeatThatIsRefused(t *testing.T) {
	p := newPool(t)
	standing := make(chan string, 100)
	x := p.proxy("p1", func(o *Options) { o.Standing = func(_ bool, why string) { standing <- why } })
	head, err := client.Do(t.Context(), client.B().Get().Key(p.keys.Head()).Build()).ToString()
	require.NoError(t, err)
	require.NoError(t, client.Do(t.Context(), client.B().Set().Key(p.keys.Head()).Value("0 of another release").Build()).Error())
	x.heartbeat(t.Context(), false)
	require.Contains(t, next(t, standing), "schema 0")
	no := x.ask("s1", time.Minute).refused(refusal.OtherRelease)
	require.False(t, no.Retryable())
	require.Contains(t, no.Text(), "PWDIST_POOL")
	require.NoError(t, client.Do(t.Context(), client.B().Set().Key(p.keys.Head()).Value(head).Build()).Error())
	x.heartbeat(t.Context(), false)
	require.Empty(t, next(t, standing))
}

func next(t *testing.T, standing <-chan string) string {
	t.Helper()
	select {
	case why := <-standing:
		return why
	case <-time.After(patience):
		require.Fail(t, "nothing is told")
		return ""
	}
}
