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
