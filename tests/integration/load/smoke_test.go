package load_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// TestRoundTrips holds the load generator and the stand-in workers against a
// real proxy: what they measure has to be sessions of the pool.
func TestRoundTrips(t *testing.T) {
	r := newRig(t)
	r.standIn(3, 2)
	proxy := r.proxy()
	conns := connectAll(t, proxy.address, 6)
	for _, size := range []int{0, 1, 125, 126, smallSize, 0xFFFF} {
		if got := roundTrips(t, conns, size, 50*time.Millisecond); got.count < len(conns) {
			t.Errorf("%d messages of %d bytes came back", got.count, size)
		}
	}
	// All slots are taken, so nobody else gets in until one has left.
	waits := make(chan *ws.Conn)
	go func() {
		c, err := connect(proxy.address)
		if err != nil {
			t.Error(err)
		}
		waits <- c
	}()
	select {
	case <-waits:
		t.Error("a seventh session in six slots")
	case <-time.After(200 * time.Millisecond):
	}
	if err := leave(conns[0]); err != nil {
		t.Error(err)
	}
	conns[0] = <-waits
	leaveAll(t, conns)
}

// TestHold has sessions over two proxies carry traffic, and one of two proxies
// end under them: that must be seen.
func TestHold(t *testing.T) {
	r := newRig(t)
	r.standIn(2, 40)
	proxies := []target{r.proxy(), r.proxy()}
	open := func() []*ws.Conn {
		return append(connectAll(t, proxies[0].address, 20), connectAll(t, proxies[1].address, 20)...)
	}
	const during, gap = time.Second, 100 * time.Millisecond
	if err := hold(t, open(), during, gap).err(); err != nil {
		t.Error(err)
	}
	conns := open()
	time.AfterFunc(during/2, func() { proxies[1].process.Kill() })
	if got := hold(t, conns, during, gap); len(got.dropped) != 20 {
		t.Errorf("%d sessions seem dropped by a proxy that had 20", len(got.dropped))
	}
}

// TestLonely has a message come back by each way.
func TestLonely(t *testing.T) { lonely(t, 2) }

// TestBulk moves large messages both ways and counts them at the other end.
func TestBulk(t *testing.T) {
	r := newRig(t)
	r.standIn(1, 2)
	conns := connectAll(t, r.proxy().address, 2)
	for _, way := range []func(*ws.Conn, time.Time) (int, error){download, upload} {
		if n, _ := transfer(t, conns, 100*time.Millisecond, way); n < bulkSize {
			t.Errorf("%.0f bytes arrived", n)
		}
	}
	leaveAll(t, conns)
}

// TestGateTools gets sessions through the gate of a real worker before a
// stand-in, which takes an assignment for each.
func TestGateTools(t *testing.T) {
	r := newRig(t)
	worker := r.worker(4)
	assign := r.assigner()
	conns := openAll(t, 4, func() (*ws.Conn, error) {
		headers, err := assign()
		if err != nil {
			return nil, err
		}
		return ws.Dial("tcp", worker.address, "/session", append(headers, asClient...)...)
	})
	if got := roundTrips(t, conns, smallSize, 50*time.Millisecond); got.count < len(conns) {
		t.Errorf("%d messages came back", got.count)
	}
	leaveAll(t, conns)
	if c, err := ws.Dial("tcp", worker.address, "/session", asClient...); err == nil {
		t.Error("the gate let a connection in that names no session")
		_ = c.Close()
	}
}

// TestStorm has sessions come and go in crowds, of one worker and of more.
func TestStorm(t *testing.T) {
	const sessions = 300
	for _, workers := range []int{1, 20} {
		r := newRig(t)
		port := r.standIn(workers, 20/workers) // fewer slots than clients at once
		before := r.account(t)
		for _, to := range []target{r.proxy(), r.haproxy(loopback(port))} {
			for name, figure := range storm(t, to, sessions) {
				if strings.HasPrefix(name, "CPU") {
					continue // which may be less than the kernel's clock sees
				}
				require.Positive(t, figure, "%s: %s", to.name, name)
			}
		}
		used := r.account(t)
		require.Contains(t, used, "Redis")
		for name, cpu := range before {
			require.GreaterOrEqual(t, used[name], cpu, name)
		}
		// Only those of the proxy are the pool's.
		require.Equal(t, sessions, r.count(event.SessionStarted))
		require.Equal(t, sessions, r.count(event.SessionEnded))
		require.Zero(t, r.count(event.SessionRejected))
	}
}

// count is how many events of a kind the log has.
func (r *rig) count(kind event.Type) (n int) {
	r.tb.Helper()
	for _, e := range r.events() {
		if e.Type == kind {
			n++
		}
	}
	return n
}

// TestIdle measures what a few sessions take that say nothing.
func TestIdle(t *testing.T) {
	const few, many = 100, 200
	r := newRig(t)
	r.standIn(1, many)
	got := idle(t, r.proxy(), few, many, time.Second)
	for _, name := range []string{memoryAt(few), memoryAt(many), cpuAt(many)} {
		require.Contains(t, got, name) // of so few it may be less than what the process gives back meanwhile
	}
	require.Equal(t, many, r.count(event.SessionStarted))
}

// TestWays measures each way to a real browser, and what the parts of the pool say of it.
func TestWays(t *testing.T) {
	w := newWays(t)
	w.addPlain()
	redis := w.client()
	w.connects(t, 1)
	before := w.spent(t, redis)
	times, pages := w.connects(t, 2), w.pages(t, 1)
	spent := w.spent(t, redis)
	for _, way := range w.all {
		require.Positive(t, times[way.name], way.name)
		for _, part := range []string{"connect", "firstPage", "whole"} {
			require.Positive(t, pages[way.name][part], "%s: %s", way.name, part)
		}
	}
	for _, part := range parts {
		require.Positive(t, spent[part].since(before[part]), part)
	}
	require.Positive(t, pingTime(t, redis))
}

// TestSteady has twice as many clients as slots, and nobody is refused.
func TestSteady(t *testing.T) {
	const sessions, turns = 4 * slots, 1
	r := newRig(t)
	sides := r.steady(t, sessions, turns)
	require.Len(t, sides, 2)
	for _, s := range sides {
		require.Empty(t, s.Failed)
		require.Len(t, s.Turns, turns)
		require.Positive(t, s.figures(sessions)["sessions/s"])
	}
	require.Equal(t, sessions*len(sides)*(turns+1), r.count(event.SessionStarted)) // the first turn warms up
	waited, found := r.handedOver(t)
	require.GreaterOrEqual(t, min(waited, found), 0.0) // events count milliseconds
}
