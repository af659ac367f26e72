package consume_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestTailFrom(t *testing.T) {
	p := newPool(t)
	ids := p.write(5)
	p.do("XADD", p.key, "99999999999999-0", "v", "1", "type", "pool.resumed", "id", "x", "at", "1", "pool", "default", "epoch", "e", "gap_ms", "1")
	for _, c := range []struct {
		from  string
		first string
	}{
		{"0", "s1"},
		{ids[1], "s3"},
		{"1h", "s1"},
	} {
		t.Run(c.from, func(t *testing.T) {
			from, err := consume.ParsePosition(c.from, time.Now())
			require.NoError(t, err)
			f := follow(t, consume.Tail(testContext(t), p.client, "default", from))
			require.Equal(t, []string{c.first}, f.sessions(1))
		})
	}
	t.Run("a time between", func(t *testing.T) {
		f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.AtTime(time.UnixMilli(99999999999999))))
		e, err, _ := f.next()
		require.NoError(t, err)
		require.Equal(t, event.PoolResumed, e.Type)
		require.Equal(t, "99999999999999-0", e.StreamID)
	})
}

func TestTailFollows(t *testing.T) {
	p := newPool(t)
	p.write(3)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning(), consume.WithBatch(2)))
	require.Equal(t, names(1, 3), f.sessions(3))
	p.meanwhile(func() {
		p.blocked(1)
		p.write(4)
	})
	require.Equal(t, names(4, 7), f.sessions(4))
}

func TestTailFromEndOfAStreamThatIsNotThereYet(t *testing.T) {
	p := newPool(t)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.End()))
	p.meanwhile(func() {
		p.blocked(1)
		p.write(2)
	})
	require.Equal(t, names(1, 2), f.sessions(2))
}

func TestTailFromEndSkipsWhatIsThere(t *testing.T) {
	p := newPool(t)
	p.write(3)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.End()))
	p.meanwhile(func() {
		p.blocked(1)
		p.write(1)
	})
	require.Equal(t, []string{"s4"}, f.sessions(1))
}

func TestTailEndsWithItsContext(t *testing.T) {
	p := newPool(t)
	ctx, cancel := context.WithCancel(context.Background())
	f := follow(t, consume.Tail(ctx, p.client, "default", consume.End()))
	p.meanwhile(func() {
		p.blocked(1)
		cancel()
	})
	began := time.Now()
	f.end()
	require.Less(t, time.Since(began), 10*time.Second, "it waited for the end of the blocking read")
	p.blocked(0)
}

func TestTailEndsWithItsLoop(t *testing.T) {
	p := newPool(t)
	p.write(10)
	for e, err := range consume.Tail(testContext(t), p.client, "default", consume.Beginning()) {
		require.NoError(t, err)
		if e.Session.ID == "s4" {
			break
		}
	}
}

func TestTailTellsOfAGap(t *testing.T) {
	p := newPool(t)
	p.write(4)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning(), consume.WithBatch(2)))
	require.Equal(t, names(1, 2), f.sessions(2))
	p.write(6)
	p.trim(3)

	var gap *consume.GapError
	require.ErrorAs(t, f.err(), &gap)
	require.Equal(t, consume.Trimmed, gap.Kind)
	require.EqualValues(t, 5, gap.Missed)
	require.Contains(t, gap.Error(), "5 entries are missing")
	require.Equal(t, names(8, 10), f.sessions(3))

	// What was read may go without a word.
	p.trim(0)
	p.write(1)
	require.Equal(t, []string{"s11"}, f.sessions(1))
}

func TestTailTellsOfANewLog(t *testing.T) {
	p := newPool(t)
	p.write(4)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning()))
	require.Equal(t, names(1, 4), f.sessions(4))
	p.do("FLUSHALL")
	p.meanwhile(func() {
		p.blocked(1)
		p.write(2)
	})
	var gap *consume.GapError
	require.ErrorAs(t, f.err(), &gap)
	require.Equal(t, consume.Replaced, gap.Kind)
	require.Equal(t, names(5, 6), f.sessions(2))
}

func TestTailTellsOfANewLogWithEarlierIDs(t *testing.T) {
	p := newPool(t)
	p.session("a", "500-0")
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning(), consume.WithBlock(time.Second)))
	f.sessions(1)
	p.do("FLUSHALL")
	p.session("b", "400-0")
	var gap *consume.GapError
	require.ErrorAs(t, f.err(), &gap)
	require.Equal(t, consume.Replaced, gap.Kind)
	require.Contains(t, gap.Error(), "500-0")
	p.session("c", "401-0")
	require.Equal(t, []string{"sb", "sc"}, f.sessions(2))
}

func TestTailYieldsBadEntriesAndGoesOn(t *testing.T) {
	p := newPool(t)
	p.write(1)
	bad := p.raw("*", "hello", "world")
	p.raw("*", "v", "2", "type", "session.ended", "id", "x", "at", "1", "pool", "default", "session", "future")
	p.write(1)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning()))
	require.Equal(t, []string{"s1"}, f.sessions(1))

	var malformed *event.MalformedError
	require.ErrorAs(t, f.err(), &malformed)
	require.Equal(t, bad, malformed.StreamID)

	e, err, _ := f.next()
	var newer *event.VersionError
	require.ErrorAs(t, err, &newer)
	require.Equal(t, "future", e.Session.ID)

	require.Equal(t, []string{"s2"}, f.sessions(1))
}

func TestTailSurvivesARestartOfRedis(t *testing.T) {
	p := newPool(t)
	p.write(2)
	var retries atomic.Int32
	failed := make(chan struct{}, 100)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning(),
		consume.WithOnRetry(func(_ error, wait time.Duration) {
			if retries.Add(1) > 1 {
				require.Greater(t, wait, time.Duration(0))
			}
			failed <- struct{}{}
		})))
	require.Equal(t, names(1, 2), f.sessions(2))
	p.meanwhile(func() {
		p.blocked(1)
		p.server.Stop()
		<-failed
		<-failed
		p.server.Start()
		p.client = p.server.Client()
		p.write(3)
	})
	var gap *consume.GapError
	require.ErrorAs(t, f.err(), &gap)
	require.Equal(t, consume.Replaced, gap.Kind)
	require.Equal(t, names(3, 5), f.sessions(3))
	require.GreaterOrEqual(t, retries.Load(), int32(2))
}

func TestTailTellsOfAFailoverThatLostEntries(t *testing.T) {
	p := newPool(t)
	for i := range 5 {
		p.session(strconv.Itoa(i+1), fmt.Sprintf("%d-0", i+100))
	}
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning(), consume.WithBlock(time.Second)))
	require.Equal(t, names(1, 5), f.sessions(5))
	// The new master has the first three only.
	p.do("DEL", p.key)
	for i := range 3 {
		p.session(strconv.Itoa(i+1), fmt.Sprintf("%d-0", i+100))
	}
	var gap *consume.GapError
	require.ErrorAs(t, f.err(), &gap)
	require.Equal(t, consume.RolledBack, gap.Kind)
	p.session("6", "103-5")
	require.Equal(t, []string{"s6"}, f.sessions(1))
}

func TestTailNoticesARedisThatIsFrozen(t *testing.T) {
	p := newPool(t)
	failed := make(chan error, 100)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning(), consume.WithBlock(time.Second),
		consume.WithOnRetry(func(err error, _ time.Duration) { failed <- err })))
	p.meanwhile(func() {
		p.blocked(1)
		p.server.Freeze()
		err := <-failed
		p.server.Thaw()
		require.ErrorContains(t, err, "does not answer")
		p.write(1)
	})
	require.Equal(t, []string{"s1"}, f.sessions(1))
}

func TestTailEndsWithAnErrorThatStays(t *testing.T) {
	p := newPool(t)
	t.Run("pool name", func(t *testing.T) {
		f := follow(t, consume.Tail(testContext(t), p.client, "Default!", consume.End()))
		require.ErrorContains(t, f.err(), "pool name")
		f.end()
	})
	t.Run("another type of key", func(t *testing.T) {
		p.do("SET", event.Key("taken"), "1")
		f := follow(t, consume.Tail(testContext(t), p.client, "taken", consume.End()))
		require.ErrorContains(t, f.err(), "WRONGTYPE")
		f.end()
	})
	t.Run("no permission", func(t *testing.T) {
		p.do("ACL", "SETUSER", "guest", "on", ">guest", "+@connection", "+ping")
		guest, err := consume.Connect("redis://guest:guest@" + p.server.Addr)
		require.NoError(t, err)
		defer guest.Close()
		f := follow(t, consume.Tail(testContext(t), guest, "default", consume.End()))
		require.ErrorContains(t, f.err(), "NOPERM")
		f.end()
	})
}

func TestTailNeedsLittlePermission(t *testing.T) {
	p := newPool(t)
	p.write(1)
	p.do("ACL", "SETUSER", "reader", "on", ">pw", "%R~"+p.key, "+xread", "+xinfo|stream")
	c, err := consume.Connect("redis://reader:pw@" + p.server.Addr)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, []string{"s1"}, follow(t, consume.Tail(testContext(t), c, "default", consume.Beginning())).sessions(1))
}

func TestIdleTailDoesNotPoll(t *testing.T) {
	p := newPool(t)
	p.write(1)
	f := follow(t, consume.Tail(testContext(t), p.client, "default", consume.Beginning()))
	f.sessions(1)
	p.meanwhile(func() {
		p.blocked(1)
		p.do("CONFIG", "RESETSTAT")
		time.Sleep(700 * time.Millisecond) // the time in which a poll would show
		stats, err := p.do("INFO", "commandstats").ToString()
		require.NoError(t, err)
		require.NotContains(t, stats, "cmdstat_xread")
		require.NotContains(t, stats, "cmdstat_xinfo")
		p.write(1)
	})
	f.sessions(1)
}

func TestReplay(t *testing.T) {
	p := newPool(t)
	ids := p.write(9)
	at := func(i int) consume.Position {
		pos, err := consume.AfterID(ids[i-1])
		require.NoError(t, err)
		return pos
	}
	for _, c := range []struct {
		name     string
		from, to consume.Position
		want     []string
	}{
		{"all", consume.Beginning(), consume.End(), names(1, 9)},
		{"from an id", at(4), consume.End(), names(5, 9)},
		{"to an id", consume.Beginning(), at(4), names(1, 4)},
		{"between", at(2), at(7), names(3, 7)},
		{"nothing between", at(7), at(2), nil},
		{"up to the beginning", consume.Beginning(), consume.Beginning(), nil},
		{"from the end", consume.End(), consume.End(), nil},
		{"to a time to come", at(8), consume.AtTime(time.Now().Add(time.Hour)), names(9, 9)},
		{"since an hour ago", consume.AtTime(time.Now().Add(-time.Hour)), consume.End(), names(1, 9)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for e, err := range consume.Replay(testContext(t), p.client, "default", c.from, c.to, consume.WithBatch(2)) {
				require.NoError(t, err)
				got = append(got, e.Session.ID)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestReplayEndsWhereTheLogEndedWhenItBegan(t *testing.T) {
	p := newPool(t)
	p.write(4)
	f := follow(t, consume.Replay(testContext(t), p.client, "default", consume.Beginning(), consume.End(), consume.WithBatch(2)))
	f.sessions(1)
	p.write(10)
	f.sessions(3)
	f.end()
}

func TestReplayOfNothing(t *testing.T) {
	p := newPool(t)
	follow(t, consume.Replay(testContext(t), p.client, "default", consume.Beginning(), consume.End())).end()
}

func TestReplayTellsOfAGap(t *testing.T) {
	p := newPool(t)
	p.write(6)
	f := follow(t, consume.Replay(testContext(t), p.client, "default", consume.Beginning(), consume.End(), consume.WithBatch(2)))
	f.sessions(2)
	p.trim(1)
	var gap *consume.GapError
	require.ErrorAs(t, f.err(), &gap)
	require.EqualValues(t, 3, gap.Missed)
	require.Equal(t, []string{"s6"}, f.sessions(1))
	f.end()
}

func TestReplayEndsWithTheErrorOfRedisOrItsContext(t *testing.T) {
	p := newPool(t)
	p.write(4)
	ctx, cancel := context.WithCancelCause(context.Background())
	f := follow(t, consume.Replay(ctx, p.client, "default", consume.Beginning(), consume.End(), consume.WithBatch(2)))
	f.sessions(2)
	enough := errors.New("enough")
	cancel(enough)
	require.ErrorIs(t, f.err(), enough)
	f.end()

	f = follow(t, consume.Replay(testContext(t), p.client, "default", consume.Beginning(), consume.End(), consume.WithBatch(2)))
	f.sessions(2)
	p.server.Stop()
	require.Error(t, f.err())
	f.end()
}

func TestDistinct(t *testing.T) {
	p := newPool(t)
	p.write(2)
	p.session("1", "*")
	p.raw("*", "bad", "entry")
	p.raw("*", "bad", "entry")
	p.write(1)
	f := follow(t, consume.Distinct(consume.Replay(testContext(t), p.client, "default", consume.Beginning(), consume.End()), 100))
	require.Equal(t, names(1, 2), f.sessions(2))
	require.Error(t, f.err())
	require.Error(t, f.err())
	require.Equal(t, []string{"s3"}, f.sessions(1))
	f.end()
}
