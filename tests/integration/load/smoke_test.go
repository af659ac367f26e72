package load_test

import (
	"testing"
	"time"

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
