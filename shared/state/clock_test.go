package state_test

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// lastSeen sets when a script was last run, from now.
func (p *pool) lastSeen(ago time.Duration) {
	p.t.Helper()
	p.head("clock", strconv.FormatInt(time.Now().Add(-ago).UnixMilli(), 10))
}

func TestTimeStandsStillWhenNobodyCouldWrite(t *testing.T) {
	for _, c := range []struct {
		name  string
		ago   time.Duration
		still bool
	}{
		{"a heartbeat", 5 * time.Second, false},
		{"almost two", 9500 * time.Millisecond, false},
		{"more than two", 11 * time.Second, true},
		{"a day", 24 * time.Hour, true},
		{"backwards, a little", -2 * time.Second, false},
		{"backwards, a lot", -time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			p.join(worker("w1", 1))
			p.acquire("s1")
			p.acquire("s2")
			w2 := worker("w2", 1)
			w2.Playwright = "1.64.0"
			p.join(w2)
			p.leave("w2", state.RetireLifetime, false)
			p.expire(p.k.Workers(), "w1")
			p.expire(p.k.Proxies(), "p1")
			p.expire(p.k.Leases(), "s1")
			p.expire(p.k.Fading(), w2.Flavour().Key())
			p.lastSeen(c.ago)
			p.read()
			ended, next := p.reap(10)
			if !c.still {
				require.Equal(t, 2, ended)
				require.NotContains(t, p.types(), "pool.resumed "+p.k.Name())
				return
			}
			require.Zero(t, ended)
			require.InDelta(t, 10*time.Second, next, float64(time.Second), "every deadline is a whole lease away")
			require.Equal(t, []string{"pool.resumed " + p.k.Name()}, p.types())
			require.InDelta(t, c.ago, p.only(event.PoolResumed).Epoch.Gap, float64(time.Second))
			require.Contains(t, p.dump().hash["flavours"], w2.Flavour().Key())
			require.Len(t, p.dump().zset["recycling"], 1)
			p.reap(10)
			require.Empty(t, p.types(), "once")
		})
	}
}

func TestManyLeasesMoveWhenTheClockIsSetBack(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	args := []string{"ZADD", p.k.Leases()}
	for i := range 2500 {
		args = append(args, "1", "s"+strconv.Itoa(i))
	}
	require.NoError(t, p.do(args...).Error())
	p.lastSeen(-time.Hour)
	p.proxyBeat("p1")
	n, err := p.do("ZCOUNT", p.k.Leases(), "-inf", "2").ToInt64()
	require.NoError(t, err)
	require.Zero(t, n)
	p.forget()
	p.wipe()
}

func TestTimeDoesNotRunTwice(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	p.lastSeen(-2 * time.Second)
	ahead := p.dump().text["clock"]
	p.join(worker("w1", 1))
	require.Equal(t, ahead, strconv.FormatInt(p.only(event.WorkerJoined).At.UnixMilli(), 10))
	require.Equal(t, ahead, p.dump().text["clock"])
}

func TestAnEmptyRedisIsANewEpoch(t *testing.T) {
	p := newPool(t)
	first := p.proxyBeat("p1").Epoch
	require.Equal(t, first, p.proxyBeat("p1").Epoch)
	require.Equal(t, first, p.only(event.PoolReset).Epoch.ID)
	p.wipe()
	second := p.proxyBeat("p1")
	require.NotEqual(t, first, second.Epoch)
	require.True(t, second.New)
	require.Equal(t, second.Epoch, p.only(event.PoolReset).Epoch.ID)
	require.Len(t, p.log, 1, "a log starts with pool.reset")
}

// What happened is told with its time also by a call that waited in a Redis
// which stood still, although its age is of when it was sent.
func TestAnEndKeepsItsTimeThoughItsCallWaited(t *testing.T) {
	p := newPool(t)
	p.join(worker("w1", 3))
	for _, id := range []string{"s1", "s2", "s3"} {
		p.serve(id, "w1")
	}
	finish := func(id string) { p.finish("w1", id) }
	for _, c := range []struct {
		id    string
		learn func()
		tell  func(id string)
	}{
		{"s1", func() { p.join(worker("w2", 1)) }, finish},
		{"s2", func() { p.beat("w1", 2, "s2", "s3") }, finish},
		{"s3", func() { p.proxyBeat("p1") }, func(id string) { p.proxyBeat("p1", state.End{Session: id, Reason: "client_closed"}) }},
	} {
		s, err := state.New(p.c, p.k, state.DefaultOptions(), nil)
		require.NoError(t, err)
		p.Store = s // which knows no time yet
		c.learn()
		p.read()
		before := time.Now()
		goOn := p.block()
		c.tell(c.id)
		goOn()
		e := p.only(event.SessionEnded)
		require.Equal(t, c.id, e.Session.ID)
		require.WithinDuration(t, before, e.Time(), e.At.Sub(before)/2, "told at %s", e.At)
	}
}

// block has Redis stand still for a moment. What is sent before
// the returned function is called waits.
func (p *pool) block() (over func()) {
	p.t.Helper()
	c, err := net.Dial("unix", server)
	require.NoError(p.t, err)
	in := bufio.NewReader(c)
	answer := func(want string) {
		p.t.Helper()
		got, err := in.ReadString('\n')
		require.NoError(p.t, err)
		require.Equal(p.t, want+"\r\n", got)
	}
	_, err = fmt.Fprint(c, "PING\r\n")
	require.NoError(p.t, err)
	answer("+PONG") // so what comes next is read as soon as it is sent
	// The clock of a script stands still, so it counts.
	_, err = fmt.Fprint(c, "EVAL 'for i=1,50000000 do end return 1' 0\r\n")
	require.NoError(p.t, err)
	return func() {
		p.t.Helper()
		answer(":1")
		require.NoError(p.t, c.Close())
	}
}

func TestEveryReplyCarriesEpochAndRevision(t *testing.T) {
	p := newPool(t)
	var seen []state.Meta
	s, err := state.New(p.c, p.k, state.DefaultOptions(), func(m state.Meta) { seen = append(seen, m) })
	require.NoError(t, err)
	p.Store = s
	p.proxyBeat("p1")
	p.join(worker("w1", 1))
	p.acquire("s1")
	p.reassign("s1", "w1", 1)
	p.beat("w1", 2)
	p.start("s1", "w1", 2)
	p.finish("w1", "s1")
	p.cancel("s1")
	p.reap(1)
	p.retire("w1", state.RetireDrain)
	p.leave("w1", state.RetireDrain, false)
	revs := make([]int64, len(seen))
	for i, m := range seen {
		require.Equal(t, seen[0].Epoch, m.Epoch)
		revs[i] = m.Rev
	}
	require.Equal(t, []int64{0, 1, 1, 2, 3, 3, 3, 3, 3, 4, 5}, revs)
}

func TestAnotherReleaseKeepsOut(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	before := p.dump()
	p.head("schema", "0")
	_, err := p.ProxyHeartbeat(ctx, "p2", "")
	require.ErrorIs(t, err, state.ErrSchema)
	require.ErrorContains(t, err, "schema 0")
	require.ErrorContains(t, err, "this release has "+state.Schema)
	require.ErrorContains(t, err, "--pool")
	_, err = p.Acquire(ctx, request("s1"))
	require.ErrorIs(t, err, state.ErrSchema)
	p.head("schema", state.Schema)
	after := p.dump()
	before.ttl, after.ttl = nil, nil
	require.Equal(t, before, after, "a refused call writes nothing")
}

// A release that is older than the pool's head, or newer than this one, has it say
// something else.
func TestAnotherReleasesLayout(t *testing.T) {
	for _, c := range []struct{ key, text, names string }{
		{"schema", "6", "schema 6"},
		{"head", "8 with=another layout", "schema 8"},
		{"head", " ", "schema ?"},
	} {
		p := newPool(t)
		p.forget()
		require.NoError(t, p.do("SET", p.k.Prefix()+c.key, c.text).Error())
		_, err := p.Acquire(ctx, request("s1"))
		require.ErrorIs(t, err, state.ErrSchema)
		require.ErrorContains(t, err, c.names)
		got, err := p.do("KEYS", p.k.Prefix()+"*").AsStrSlice()
		require.NoError(t, err)
		require.Equal(t, []string{p.k.Prefix() + c.key}, got, "a refused call writes nothing")
	}
}

// The time is read off a key that may be lost, may lose its deadline, and may get
// another one where keys are copied to another Redis.
func TestTheClocksKey(t *testing.T) {
	p := newPool(t)
	right := func() {
		t.Helper()
		at, err := p.do("PEXPIRETIME", p.k.Tick()).ToInt64()
		require.NoError(t, err)
		require.Equal(t, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), at)
	}
	p.proxyBeat("p1")
	right()
	p.read()
	for _, lose := range [][]string{{"DEL", p.k.Tick()}, {"PERSIST", p.k.Tick()}} {
		require.NoError(t, p.do(lose...).Error())
		before := time.Now()
		p.acquire(fmt.Sprint("s", lose[0]))
		e := p.only(event.SessionQueued)
		require.InDelta(t, before.UnixMilli(), e.At.UnixMilli(), 60_000)
		right()
	}
	for _, off := range []string{"4102444801000", "4102444799000"} { // a second late, and early
		require.NoError(t, p.do("PEXPIREAT", p.k.Tick(), off).Error())
		p.lastSeen(5 * time.Second)
		p.proxyBeat("p1")
		right()
	}
	require.Empty(t, p.types())
}

// However many deadlines there are, going on after a standstill takes the same
// few commands, and no deadline is judged before a whole lease has passed.
func TestGoingOnIsOneStep(t *testing.T) {
	var counts [2]int
	for i, workers := range []int{1, 300} {
		p := newPool(t)
		p.proxyBeat("p1")
		for n := range workers {
			p.join(worker(fmt.Sprint("w", n), 1))
			p.acquire(fmt.Sprint("s", n))
		}
		p.lastSeen(time.Hour)
		for _, zset := range []string{p.k.Workers(), p.k.Proxies(), p.k.Leases()} {
			p.dies(zset, "")
		}
		counts[i] = len(scriptCommands(monitor(t, func() { p.proxyBeat("p2") })))
		require.True(t, p.proxyBeat("p1").New, "what it had may have been ended before time stood still")
		require.False(t, p.proxyBeat("p1").New)
		ended, next := p.reap(1000)
		require.Zero(t, ended)
		require.Positive(t, next)
		require.Len(t, p.dump().zset["workers"], workers)
		require.Equal(t, state.StartOK, p.start("s0", "w0", 1))

		// When that time is over, all of them are due that were not renewed.
		p.head("resumed", "1")
		p.reapAll(100)
		require.Empty(t, p.dump().zset["leases"])
	}
	require.Equal(t, counts[0], counts[1])
}
