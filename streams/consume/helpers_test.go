package consume_test

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/streams/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should happen at once.
const patience = 20 * time.Second

// pool writes events as the pool would.
type pool struct {
	t      *testing.T
	server *redistest.Server
	client rueidis.Client
	key    string
	n      int
}

func newPool(t *testing.T) *pool {
	server := redistest.Start(t)
	return &pool{t: t, server: server, client: server.Client(), key: event.Key("default")}
}

func (p *pool) do(args ...string) rueidis.RedisResult {
	p.t.Helper()
	r := p.client.Do(context.Background(), p.client.B().Arbitrary(args...).Build())
	if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
		require.NoError(p.t, err, "%v", args)
	}
	return r
}

// raw adds an entry with just these fields and returns its stream id.
func (p *pool) raw(streamID string, fields ...string) string {
	p.t.Helper()
	s, err := p.do(append([]string{"XADD", p.key, streamID}, fields...)...).ToString()
	require.NoError(p.t, err)
	return s
}

// write adds the next n events, the end of sessions s1, s2, ..., and returns their
// stream ids.
func (p *pool) write(n int) []string {
	p.t.Helper()
	var ids []string
	for range n {
		p.n++
		ids = append(ids, p.session(strconv.Itoa(p.n), "*"))
	}
	return ids
}

func (p *pool) session(name, streamID string) string {
	p.t.Helper()
	id := "s" + name
	return p.raw(streamID, "v", "1", "type", "session.ended", "id", id+":session.ended:1", "at", "1700000000000",
		"pool", "default", "session", id, "proxy", "p1", "attempt", "1", "reason", "client_closed")
}

func (p *pool) trim(keep int) {
	p.t.Helper()
	p.do("XTRIM", p.key, "MAXLEN", "=", strconv.Itoa(keep))
}

// feed runs a sequence and hands out what it yields.
type feed struct {
	t    *testing.T
	next func() (event.Event, error, bool)
}

// follow pulls from a sequence; stop ends with the test.
func follow(t *testing.T, seq iter.Seq2[event.Event, error]) *feed {
	next, stop := iter.Pull2(seq)
	t.Cleanup(stop)
	return &feed{t: t, next: next}
}

// sessions reads n events without an error and returns their sessions.
func (f *feed) sessions(n int) []string {
	f.t.Helper()
	var got []string
	for range n {
		e, err, ok := f.next()
		require.True(f.t, ok, "ended after %v", got)
		require.NoError(f.t, err, "after %v", got)
		got = append(got, e.Session.ID)
	}
	return got
}

func (f *feed) err() error {
	f.t.Helper()
	e, err, ok := f.next()
	require.True(f.t, ok)
	require.Error(f.t, err, "got %v", e)
	return err
}

func (f *feed) end() {
	f.t.Helper()
	e, err, ok := f.next()
	require.False(f.t, ok, "got %v %v", e, err)
}

func names(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprintf("s%d", i))
	}
	return s
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// blocked waits until n clients of the server wait in a blocking read.
func (p *pool) blocked(n int) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		info, err := p.do("INFO", "clients").ToString()
		require.NoError(p.t, err)
		return contains(info, fmt.Sprintf("blocked_clients:%d\r\n", n))
	}, patience, 5*time.Millisecond)
}

// meanwhile runs f beside the test, which does not end before f.
func (p *pool) meanwhile(f func()) {
	done := make(chan struct{})
	p.t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		f()
	}()
}
