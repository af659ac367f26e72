package consume_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// entry is what XADD takes for an event of a session.
func entry(kind event.Type, session string, fields ...string) []string {
	return append([]string{"v", "1", "type", string(kind), "id", session + ":" + string(kind) + ":1", "at", "1700000000000",
		"pool", "default", "session", session, "proxy", "p1", "attempt", "1"}, fields...)
}

func started(session string) []string { return entry(event.SessionStarted, session, "worker", "w1") }

func ended(session string) []string {
	return entry(event.SessionEnded, session, "reason", "client_closed")
}

func reset(epoch int) []string {
	e := strconv.Itoa(epoch)
	return []string{"v", "1", "type", "pool.reset", "id", "default:pool.reset:" + e, "at", "1700000000000", "pool", "default", "epoch", e}
}

func (p *pool) add(entries ...[]string) {
	p.t.Helper()
	for _, fields := range entries {
		p.raw("*", fields...)
	}
}

// atOnce runs commands in one transaction.
func (p *pool) atOnce(commands ...[]string) {
	p.t.Helper()
	err := p.client.Dedicated(func(c rueidis.DedicatedClient) error {
		for _, cmd := range slices.Concat([][]string{{"MULTI"}}, commands, [][]string{{"EXEC"}}) {
			if err := c.Do(context.Background(), c.B().Arbitrary(cmd...).Build()).Error(); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(p.t, err)
}

// TestDistinctPassesWhatANewLogAnnounces: who empties a table at pool.reset would
// miss for good what lives on.
func TestDistinctPassesWhatANewLogAnnounces(t *testing.T) {
	p := newPool(t)
	p.add(reset(1), started("s1"), started("s2"), started("s1"), ended("s2"), reset(1), started("s1"))
	p.add(reset(2), started("s1"), ended("s2"), reset(2), started("s1"))
	var got []string
	for e, err := range consume.Distinct(consume.Replay(testContext(t), p.client, "default", consume.Beginning(), consume.End()), 100) {
		require.NoError(t, err)
		got = append(got, e.ID)
	}
	require.Equal(t, []string{"default:pool.reset:1", "s1:session.started:1", "s2:session.started:1", "s2:session.ended:1",
		"default:pool.reset:2", "s1:session.started:1"}, got)
}

// anew takes n names and passes over what tells of the new log.
func (s *sink) anew(n int) []string {
	s.t.Helper()
	var got []string
	for len(got) < n {
		select {
		case id := <-s.got:
			got = append(got, id)
		case <-s.notice:
		case <-time.After(patience):
			s.t.Fatalf("nothing came after %v", got)
		}
	}
	return got
}

func TestGroupHandlesWhatANewLogAnnounces(t *testing.T) {
	flush := []string{"FLUSHALL"}
	for name, again := range map[string]func(p *pool){
		// Redis wakes the reader, whose group is gone.
		"all of it": func(p *pool) {
			p.do(flush...)
			p.add(reset(2), started("s1"), ended("s2"), started("s3"))
		},
		// Another member made the group again and had the pool.reset; the blocking
		// read goes on as if nothing had been.
		"the end of it": func(p *pool) {
			p.atOnce(flush, append([]string{"XADD", p.key, "*"}, reset(2)...), []string{"XGROUP", "CREATE", p.key, "sink", "0"},
				[]string{"XREADGROUP", "GROUP", "sink", "other", "COUNT", "1", "STREAMS", p.key, ">"},
				append([]string{"XADD", p.key, "*"}, started("s1")...))
			p.add(ended("s2"), started("s3"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			s := newSink(p)
			s.group.Block, s.group.ClaimIdle = time.Minute, time.Hour
			s.run()
			p.blocked(1)
			p.add(reset(1), started("s1"), started("s2"), ended("s2"))
			require.Equal(t, []string{"pool.reset", "s1", "s2", "s2"}, s.take(4))
			p.blocked(1)
			p.add(started("s1"))
			p.blocked(1)
			require.Empty(t, s.got, "a repetition in the same log")

			again(p)
			want := []string{"s1", "s3"}
			if name == "all of it" {
				want = append([]string{"pool.reset"}, want...)
			}
			require.Equal(t, want, s.anew(len(want)))
			require.Empty(t, s.got)
		})
	}
}

// TestGroupHandlesWhatANewLogAnnouncesToABusyMember: another one has made the group
// again and had the pool.reset, and the new log has been trimmed as well.
func TestGroupHandlesWhatANewLogAnnouncesToABusyMember(t *testing.T) {
	p := newPool(t)
	s := newSink(p)
	s.group.Block, s.group.ClaimIdle = time.Minute, time.Hour
	begun, goOn := make(chan struct{}), make(chan struct{})
	s.handle = func(_ context.Context, e event.Event) error {
		if e.Session != nil && e.Session.ID == "busy" {
			close(begun)
			<-goOn
		}
		return nil
	}
	s.run()
	p.blocked(1)
	p.add(reset(1), started("s1"), started("s2"))
	require.Equal(t, []string{"pool.reset", "s1", "s2"}, s.take(3))
	p.blocked(1)
	p.trim(1)
	p.add(started("s3"))
	require.Equal(t, names(3, 3), s.take(1))
	p.blocked(1)
	p.add(started("busy"))
	<-begun
	p.do("FLUSHALL")
	p.add(reset(2), started("s5"), started("s6"), started("s7"))
	p.trim(2)
	p.do("XGROUP", "CREATE", p.key, "sink", "0")
	p.do("XREADGROUP", "GROUP", "sink", "other", "COUNT", "4", "STREAMS", p.key, ">")
	p.add(started("s1"))
	close(goOn)
	require.Equal(t, []string{"busy", "s1"}, s.take(2))
}

// TestGroupTakesATrimmedLogForTheSame: it begins later than it did.
func TestGroupTakesATrimmedLogForTheSame(t *testing.T) {
	p := newPool(t)
	s := newSink(p)
	s.group.Block, s.group.ClaimIdle = time.Minute, time.Hour
	s.run()
	p.blocked(1)
	p.add(started("s1"), started("s2"))
	require.Equal(t, names(1, 2), s.take(2))
	p.blocked(1)
	p.trim(1)
	p.add(started("s1"), started("s3"))
	require.Equal(t, names(3, 3), s.take(1))
	p.blocked(1)
	p.trim(1)
	p.add(started("s1"), started("s4"))
	require.Equal(t, names(4, 4), s.take(1))
}

// TestGroupForgetsWithoutACount: somebody deleted an entry, so Redis does not say
// how many were trimmed.
func TestGroupForgetsWithoutACount(t *testing.T) {
	for name, c := range map[string]struct {
		made bool // by another member
		want []string
		told [][]string
	}{
		"it made the group again": {false, []string{"s1"}, [][]string{started("s1")}},
		"it had the pool.reset":   {true, []string{"pool.reset", "s1"}, [][]string{reset(2), started("s1")}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			p.do("XDEL", p.key, p.raw("*", "to", "delete"))
			s := newSink(p)
			s.group.Block, s.group.ClaimIdle = time.Minute, time.Hour
			s.run()
			p.blocked(1)
			p.add(started("s1"))
			require.Equal(t, []string{"s1"}, s.take(1))
			p.blocked(1)
			again := [][]string{{"FLUSHALL"}}
			if c.made {
				again = append(again, []string{"XGROUP", "CREATE", p.key, "sink", "0", "MKSTREAM"})
			}
			for _, fields := range c.told {
				again = append(again, append([]string{"XADD", p.key, "*"}, fields...))
			}
			p.atOnce(again...)
			require.Equal(t, c.want, s.anew(len(c.want)))
		})
	}
}
