package consume_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// sink is a consumer group whose handler hands over what it gets.
type sink struct {
	t      *testing.T
	pool   *pool
	group  consume.Group
	handle func(ctx context.Context, e event.Event) error
	got    chan string
	notice chan error
	done   chan error
	cancel context.CancelFunc
}

// newSink sets a group up; its times are short enough for a test.
func newSink(p *pool) *sink {
	s := &sink{t: p.t, pool: p, got: make(chan string, 1000), notice: make(chan error, 1000)}
	s.group = consume.Group{Client: p.client, Pool: "default", Name: "sink", Block: 50 * time.Millisecond,
		ClaimIdle: 100 * time.Millisecond, OnNotice: func(err error) { s.notice <- err }}
	return s
}

func (s *sink) run() *sink {
	ctx, cancel := context.WithCancel(testContext(s.t))
	done := make(chan error, 1)
	s.cancel, s.done = cancel, done
	go func() {
		defer close(done)
		done <- s.group.Run(ctx, func(ctx context.Context, e event.Event) error {
			if s.handle != nil {
				if err := s.handle(ctx, e); err != nil {
					return err
				}
			}
			if e.Session == nil {
				s.got <- string(e.Type)
			} else {
				s.got <- e.Session.ID
			}
			return nil
		})
	}()
	s.t.Cleanup(s.stop)
	return s
}

func (s *sink) stop() {
	s.cancel()
	for err := range s.done {
		require.NoError(s.t, err)
	}
}

func (s *sink) take(n int) []string {
	s.t.Helper()
	var got []string
	for range n {
		select {
		case id := <-s.got:
			got = append(got, id)
		case err := <-s.notice:
			require.NoError(s.t, err, "a notice after %v", got)
		case <-time.After(patience):
			s.t.Fatalf("nothing came after %v", got)
		}
	}
	return got
}

func notice[E error](s *sink) E {
	s.t.Helper()
	var e E
	select {
	case err := <-s.notice:
		require.ErrorAs(s.t, err, &e)
	case <-time.After(patience):
		s.t.Fatalf("no notice of %T", e)
	}
	return e
}

// pending returns the ids that the group has not acknowledged.
func (p *pool) pending() []string {
	p.t.Helper()
	rows, err := p.do("XPENDING", p.key, "sink", "-", "+", "1000").ToArray()
	require.NoError(p.t, err)
	var ids []string
	for _, row := range rows {
		cols, err := row.ToArray()
		require.NoError(p.t, err)
		id, err := cols[0].ToString()
		require.NoError(p.t, err)
		ids = append(ids, id)
	}
	return ids
}

func (p *pool) consumers() int {
	p.t.Helper()
	rows, err := p.do("XINFO", "CONSUMERS", p.key, "sink").ToArray()
	require.NoError(p.t, err)
	return len(rows)
}

// idle is for how long, in ms, the group has waited for an acknowledgement.
func (p *pool) idle(streamID string) (ms, deliveries int64) {
	rows, err := p.do("XPENDING", p.key, "sink", streamID, streamID, "1").ToArray()
	if err != nil || len(rows) == 0 {
		return -1, -1
	}
	cols, _ := rows[0].ToArray()
	ms, _ = cols[2].AsInt64()
	deliveries, _ = cols[3].AsInt64()
	return ms, deliveries
}

func (p *pool) allAcked() {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return len(p.pending()) == 0 }, patience, 5*time.Millisecond)
}

func TestGroupHandlesAndAcknowledges(t *testing.T) {
	p := newPool(t)
	p.write(5)
	s := newSink(p)
	s.group.Batch = 2
	s.run()
	require.Equal(t, names(1, 5), s.take(5))
	p.write(3)
	require.Equal(t, names(6, 8), s.take(3))
	p.allAcked()
	s.stop()
	require.Zero(t, p.consumers(), "a consumer with a name of its own goes with it")

	p.write(2)
	require.Equal(t, names(9, 10), s.run().take(2), "the group goes on where it was")
}

func TestGroupFrom(t *testing.T) {
	p := newPool(t)
	ids := p.write(5)
	third, err := consume.AfterID(ids[2])
	require.NoError(t, err)
	for name, c := range map[string]struct {
		from consume.Position
		want string
	}{
		"beginning": {consume.Beginning(), "s1"},
		"id":        {third, "s4"},
		"time":      {consume.AtTime(time.Now().Add(-time.Hour)), "s1"},
	} {
		s := newSink(p)
		s.group.Name, s.group.From = name, c.from
		require.Equal(t, []string{c.want}, s.run().take(1))
		s.stop()
	}
	s := newSink(p)
	s.group.Name, s.group.From, s.group.Block = "end", consume.End(), time.Minute
	s.run()
	p.blocked(1)
	p.write(1)
	require.Equal(t, []string{"s6"}, s.take(1))
}

func TestGroupWaitsForAStreamThatIsNotThereYet(t *testing.T) {
	p := newPool(t)
	s := newSink(p)
	s.group.Block = time.Minute
	s.run()
	p.blocked(1)
	p.write(1)
	require.Equal(t, []string{"s1"}, s.take(1))
}

func TestGroupSharesTheWork(t *testing.T) {
	p := newPool(t)
	a, b := newSink(p), newSink(p)
	b.got = a.got
	a.group.ClaimIdle, b.group.ClaimIdle = time.Minute, time.Minute
	a.group.Batch, b.group.Batch = 1, 1
	a.run()
	b.run()
	p.write(100)
	got := a.take(100)
	slices.Sort(got)
	want := names(1, 100)
	slices.Sort(want)
	require.Equal(t, want, got)
	p.allAcked()
}

func TestGroupEndsWithItsContext(t *testing.T) {
	p := newPool(t)
	s := newSink(p)
	s.group.Block = time.Minute
	s.run()
	p.blocked(1)
	began := time.Now()
	s.stop()
	require.Less(t, time.Since(began), 10*time.Second, "it waited for the end of the blocking read")
}

func TestGroupAcknowledgesNothingThatWasNotHandled(t *testing.T) {
	p := newPool(t)
	ids := p.write(4)
	s := newSink(p)
	s.group.ClaimIdle = time.Minute
	reached := make(chan struct{})
	s.handle = func(ctx context.Context, e event.Event) error {
		if e.Session.ID != "s3" {
			return nil
		}
		close(reached)
		<-ctx.Done()
		return ctx.Err()
	}
	s.run()
	s.take(2)
	<-reached
	s.stop()
	require.Equal(t, ids[2:], p.pending())
	require.Equal(t, 1, p.consumers(), "what it holds would be lost with it")
	require.Empty(t, s.notice)

	other := newSink(p).run()
	require.Equal(t, []string{"s3", "s4"}, other.take(2))
	p.allAcked()
}

func TestGroupRetriesWhatFailed(t *testing.T) {
	p := newPool(t)
	p.write(3)
	s := newSink(p)
	failures := 0
	s.handle = func(_ context.Context, e event.Event) error {
		if e.Session.ID == "s2" && failures < 2 {
			failures++
			return fmt.Errorf("failure %d", failures)
		}
		return nil
	}
	s.run()
	first := notice[*consume.HandlerError](s)
	require.EqualValues(t, 1, first.Deliveries)
	require.EqualError(t, errors.Unwrap(first), "failure 1")
	second := notice[*consume.HandlerError](s)
	require.EqualValues(t, 2, second.Deliveries)
	require.Equal(t, []string{"s1", "s3", "s2"}, s.take(3))
	p.allAcked()
}

func TestGroupClaimsFromTheDead(t *testing.T) {
	p := newPool(t)
	p.write(5)
	p.do("XGROUP", "CREATE", p.key, "sink", "0")
	p.do("XREADGROUP", "GROUP", "sink", "dead", "COUNT", "3", "STREAMS", p.key, ">")
	s := newSink(p)
	s.group.Batch = 2
	s.run()
	got := s.take(5)
	slices.Sort(got)
	require.Equal(t, names(1, 5), got)
	p.allAcked()
}

func TestGroupTakesItsOwnFirst(t *testing.T) {
	p := newPool(t)
	p.write(5)
	p.do("XGROUP", "CREATE", p.key, "sink", "0")
	p.do("XREADGROUP", "GROUP", "sink", "me", "COUNT", "3", "STREAMS", p.key, ">")
	s := newSink(p)
	s.group.Consumer, s.group.ClaimIdle, s.group.Batch = "me", time.Hour, 2
	require.Equal(t, names(1, 5), s.run().take(5))
	p.allAcked()
	s.stop()
	require.Equal(t, 1, p.consumers(), "a name that was given stays")
}

func TestGroupPoison(t *testing.T) {
	p := newPool(t)
	bad := p.raw("*", "hello", "world")
	newer := p.raw("*", "v", "2", "type", "session.ended", "id", "n", "at", "1", "pool", "default", "session", "new")
	failing := p.write(1)[0]
	deadly := p.write(1)[0]
	p.write(1)
	p.do("XGROUP", "CREATE", p.key, "sink", "0")
	p.do("XREADGROUP", "GROUP", "sink", "dead", "COUNT", "4", "STREAMS", p.key, ">")
	p.do("XCLAIM", p.key, "sink", "dead", "0", deadly, "RETRYCOUNT", "4")

	s := newSink(p)
	s.group.MaxDeliveries = 4
	var mu sync.Mutex
	poisons := map[string]*consume.PoisonError{}
	refused := false
	s.group.OnPoison = func(_ context.Context, poison *consume.PoisonError) error {
		mu.Lock()
		defer mu.Unlock()
		if poison.StreamID == bad && !refused {
			refused = true
			return errors.New("no room")
		}
		poisons[poison.StreamID] = poison
		return nil
	}
	boom := errors.New("boom")
	s.handle = func(_ context.Context, e event.Event) error {
		if e.StreamID == deadly {
			t.Error("the deadly entry was handled once more")
		}
		if e.StreamID == failing {
			return boom
		}
		return nil
	}
	s.run()
	require.Eventually(t, func() bool { return len(p.pending()) == 0 && len(s.got) == 1 }, patience, 5*time.Millisecond)
	s.stop()

	require.Len(t, poisons, 4)
	var malformed *event.MalformedError
	require.ErrorAs(t, poisons[bad], &malformed)
	require.Equal(t, map[string]string{"hello": "world"}, poisons[bad].Fields)
	require.True(t, refused)
	var version *event.VersionError
	require.ErrorAs(t, poisons[newer], &version)
	require.ErrorIs(t, poisons[failing], boom)
	require.EqualValues(t, 4, poisons[failing].Deliveries)
	require.ErrorIs(t, poisons[deadly], consume.ErrTooManyDeliveries)
}

func TestGroupTellsOfPoisonThatNobodyTakes(t *testing.T) {
	p := newPool(t)
	bad := p.raw("*", "hello", "world")
	p.write(1)
	s := newSink(p).run()
	poison := notice[*consume.PoisonError](s)
	require.Equal(t, bad, poison.StreamID)
	require.Contains(t, poison.Error(), bad)
	require.Equal(t, []string{"s1"}, s.take(1))
	p.allAcked()
}

func TestGroupAcceptsNewer(t *testing.T) {
	p := newPool(t)
	p.raw("*", "v", "2", "type", "session.ended", "id", "n", "at", "1", "pool", "default", "session", "new")
	s := newSink(p)
	s.group.AcceptNewer = true
	require.Equal(t, []string{"new"}, s.run().take(1))
	p.allAcked()
}

func TestGroupLeavesRepetitionsOut(t *testing.T) {
	p := newPool(t)
	p.write(2)
	p.session("1", "*")
	p.write(1)
	require.Equal(t, names(1, 3), newSink(p).run().take(3))
	p.allAcked()
}

func TestGroupTellsOfAGap(t *testing.T) {
	p := newPool(t)
	p.write(3)
	s := newSink(p).run()
	require.Equal(t, names(1, 3), s.take(3))
	p.allAcked()
	s.stop()

	// Away for too long.
	p.write(7)
	p.trim(2)
	s.run()
	gap := notice[*consume.GapError](s)
	require.Equal(t, consume.Trimmed, gap.Kind)
	require.EqualValues(t, 5, gap.Missed)
	require.NotEmpty(t, gap.Next)
	require.Equal(t, names(9, 10), s.take(2))
	p.allAcked()
	s.stop()

	// Trimmed of what was handled, and of that only.
	p.trim(0)
	p.write(3)
	require.Equal(t, names(11, 13), s.run().take(3))
	p.allAcked()
	s.stop()

	// Trimmed of all.
	p.write(3)
	p.trim(0)
	s.run()
	require.EqualValues(t, 3, notice[*consume.GapError](s).Missed)
	p.write(1)
	require.Equal(t, names(17, 17), s.take(1))
}

func TestGroupThatBeginsOnATrimmedLogHasNoGap(t *testing.T) {
	for _, from := range []consume.Position{consume.Beginning(), consume.End()} {
		p := newPool(t)
		p.write(10)
		p.trim(3)
		s := newSink(p)
		s.group.From, s.group.Block = from, time.Minute
		s.run()
		p.blocked(1)
		s.stop()
		p.write(1)
		p.trim(1)
		s.run()
		for {
			if s.take(1)[0] == "s11" {
				break
			}
		}
	}
}

func TestGroupTellsOfEntriesThatWereTrimmedBeforeTheyWereHandled(t *testing.T) {
	for _, c := range []struct{ name, consumer string }{{"another's", ""}, {"its own", "dead"}} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			ids := p.write(5)
			p.do("XGROUP", "CREATE", p.key, "sink", "0")
			p.do("XREADGROUP", "GROUP", "sink", "dead", "COUNT", "3", "STREAMS", p.key, ">")
			p.trim(3)
			s := newSink(p)
			s.group.Consumer = c.consumer
			s.run()
			gap := notice[*consume.GapError](s)
			require.EqualValues(t, 2, gap.Missed)
			require.Equal(t, ids[0], gap.After)
			got := s.take(3)
			slices.Sort(got)
			require.Equal(t, names(3, 5), got)
			p.allAcked()
		})
	}
}

func TestGroupSurvivesANewLog(t *testing.T) {
	p := newPool(t)
	s := newSink(p)
	s.group.From, s.group.Block = consume.End(), time.Minute
	s.run()
	p.blocked(1)
	ids := p.write(3)
	s.take(3)
	p.blocked(1)
	p.do("FLUSHALL")
	p.write(2)
	// Whether Redis wakes a reader whose stream went away depends on its version.
	for {
		select {
		case err := <-s.notice:
			if gap, ok := errors.AsType[*consume.GapError](err); ok {
				require.Equal(t, consume.Replaced, gap.Kind)
				require.Equal(t, ids[2], gap.After)
				require.Equal(t, names(4, 5), s.take(2))
				return
			}
			var retry *consume.RetryError
			require.ErrorAs(t, err, &retry)
		case <-time.After(patience):
			t.Fatal("no notice")
		}
	}
}

func TestGroupSurvivesARestartOfRedis(t *testing.T) {
	p := newPool(t)
	p.write(2)
	s := newSink(p)
	s.group.Block = time.Minute
	s.run()
	s.take(2)
	p.blocked(1)
	p.server.Stop()
	require.Greater(t, notice[*consume.RetryError](s).Wait, time.Duration(0))
	notice[*consume.RetryError](s)
	p.server.Start()
	p.client = p.server.Client()
	p.write(2)
	require.Eventually(t, func() bool { return len(s.got) == 2 }, patience, 5*time.Millisecond)
	require.Equal(t, "s3", <-s.got)
	require.Equal(t, "s4", <-s.got)
	var gap *consume.GapError
	for err := range s.notice {
		if errors.As(err, &gap) {
			break
		}
	}
	require.Equal(t, consume.Replaced, gap.Kind)
}

func TestGroupHoldsWhatWaitsForItsTurn(t *testing.T) {
	p := newPool(t)
	ids := p.write(3)
	s := newSink(p)
	s.group.ClaimIdle = 10 * time.Second
	s.handle = func(_ context.Context, e event.Event) error {
		switch e.StreamID {
		case ids[0]:
			assert.Eventually(t, func() bool { ms, _ := p.idle(ids[2]); return ms >= 5200 }, patience, 5*time.Millisecond)
		case ids[1]:
			ms, n := p.idle(ids[2])
			assert.Less(t, ms, int64(5200))
			assert.EqualValues(t, 1, n, "holding is not delivering")
		}
		return nil
	}
	require.Equal(t, names(1, 3), s.run().take(3))
}

func TestGroupLeavesToOthersWhatWaitedTooLong(t *testing.T) {
	p := newPool(t)
	ids := p.write(3)
	s := newSink(p)
	s.handle = func(_ context.Context, e event.Event) error {
		if e.StreamID == ids[0] {
			assert.Eventually(t, func() bool { ms, _ := p.idle(ids[2]); return ms >= 400 }, patience, 5*time.Millisecond)
			return nil
		}
		// More often when the look itself took too long.
		_, n := p.idle(e.StreamID)
		assert.GreaterOrEqual(t, n, int64(2))
		return nil
	}
	require.Equal(t, names(1, 3), s.run().take(3))
	p.allAcked()
}

func TestGroupSetup(t *testing.T) {
	p := newPool(t)
	good := newSink(p).group
	nop := func(context.Context, event.Event) error { return nil }
	for problem, change := range map[string]func(g *consume.Group){
		"pool name": func(g *consume.Group) { g.Pool = "Bad" },
		"no Client": func(g *consume.Group) { g.Client = nil },
		"no Name":   func(g *consume.Group) { g.Name = "" },
	} {
		g := good
		change(&g)
		require.ErrorContains(t, g.Run(testContext(t), nop), problem)
	}
	require.ErrorContains(t, good.Run(testContext(t), nil), "no handler")

	p.do("SET", p.key, "taken")
	require.ErrorContains(t, good.Run(testContext(t), nop), "WRONGTYPE")
}

func TestGroupDoesNotPoll(t *testing.T) {
	p := newPool(t)
	s := newSink(p)
	s.group.Block, s.group.ClaimIdle = time.Minute, 10*time.Millisecond
	s.run()
	p.blocked(1)
	p.do("CONFIG", "RESETSTAT")
	time.Sleep(500 * time.Millisecond) // the time in which a poll would show
	stats, err := p.do("INFO", "commandstats").ToString()
	require.NoError(t, err)
	for _, cmd := range []string{"xreadgroup", "xautoclaim", "evalsha", "xinfo"} {
		require.NotContains(t, stats, "cmdstat_"+cmd)
	}
}

func TestGroupWithLongSequenceNumbers(t *testing.T) {
	p := newPool(t)
	const ms = "1700000000000-"
	for i := range 4 {
		p.session(strconv.Itoa(i+1), ms+"1844674407370955161"+strconv.Itoa(i))
	}
	s := newSink(p).run()
	require.Equal(t, names(1, 4), s.take(4))
	p.allAcked()
	s.stop()
	p.session("5", ms+"18446744073709551614")
	p.session("6", ms+"18446744073709551615")
	p.session("7", "1700000000001-0")
	p.trim(1)
	s.run()
	require.EqualValues(t, 2, notice[*consume.GapError](s).Missed)
	require.Equal(t, []string{"s7"}, s.take(1))
}

// TestGroupDoesNotHurryWhatFailed: connections that are lost bring it back no
// sooner, and so do not make it poison.
func TestGroupDoesNotHurryWhatFailed(t *testing.T) {
	p := newPool(t)
	s := newSink(p)
	s.group.Consumer, s.group.Block, s.group.ClaimIdle, s.group.MaxDeliveries = "me", time.Minute, time.Hour, 3
	s.handle = func(_ context.Context, e event.Event) error {
		if e.Session.ID == "s2" {
			return errors.New("boom")
		}
		return nil
	}
	s.group.OnNotice = func(err error) {
		if _, lost := errors.AsType[*consume.RetryError](err); !lost {
			s.notice <- err
		}
	}
	s.run()
	p.blocked(1)
	failing := p.write(2)[1]
	require.Equal(t, "s1", <-s.got)
	require.EqualValues(t, 1, notice[*consume.HandlerError](s).Deliveries)
	for i := range 4 {
		p.blocked(1)
		// It is given another one, and the connection breaks before it hears of it.
		unseen := "unseen" + strconv.Itoa(i)
		p.atOnce(append([]string{"XADD", p.key, "*"}, ended(unseen)...),
			[]string{"XREADGROUP", "GROUP", "sink", "me", "STREAMS", p.key, ">"})
		p.do("CLIENT", "KILL", "TYPE", "normal")
		require.Equal(t, []string{unseen}, s.take(1))
	}
	p.blocked(1)
	require.Equal(t, []string{failing}, p.pending())
	_, n := p.idle(failing)
	require.EqualValues(t, 1, n)
	require.Empty(t, s.notice)
}
