package sim_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// world is all that is not Redis.
type world struct {
	t     *testing.T
	o     state.Options
	slots int

	gates     sync.Map // endpoint → *worker that listens there
	workerIDs atomic.Int64
	proxyIDs  atomic.Int64
	asked     atomic.Int64 // clients whose acquire has returned
	over      atomic.Int64 // sessions that ran to their end
	looks     atomic.Int64 // for somebody who sleeps beside a free slot

	hold  chan struct{} // closed when sessions may end
	heard func(state.Notice)

	stop chan struct{} // closed when processes are to stop
	all  sync.WaitGroup
}

func newWorld(t *testing.T, o state.Options, slots int) *world {
	t.Helper()
	w := &world{t: t, o: o, slots: slots, hold: make(chan struct{}), stop: make(chan struct{}), heard: func(state.Notice) {}}
	t.Cleanup(w.end)
	return w
}

// end stops all virtual processes; it may be called twice.
func (w *world) end() {
	if !closed(w.stop) {
		close(w.stop)
	}
	w.all.Wait()
}

// demands are what clients ask for, by the names that they bear in events.
var demands = map[string]state.Demand{
	"any": {Browser: "chromium"},
	"65":  {Browser: "chromium", Playwright: "1.65"},
	"64":  {Browser: "chromium", Playwright: "1.64"},
	"gpu": {Browser: "chromium", Require: map[string]string{"gpu": "1"}},
}

var kinds = []string{"any", "65", "65", "64", "gpu", "any"}

// client is a connection from outside.
type client struct {
	w       *world
	id      string
	kind    string
	demand  state.Demand
	lasts   time.Duration
	givesUp <-chan time.Time
}

func (w *world) newClient(i int, random *rand.Rand, patience time.Duration) *client {
	kind := kinds[random.IntN(len(kinds))]
	c := &client{w: w, id: fmt.Sprintf("%032d", i), kind: kind, demand: demands[kind], lasts: time.Duration(random.Int64N(int64(w.o.Heartbeat)))}
	if random.IntN(20) == 0 {
		c.givesUp = time.After(time.Duration(random.Int64N(int64(patience))))
	}
	return c
}

func (c *client) asked() { c.w.asked.Add(1) }

// done is ready when the client has had enough of its session.
func (c *client) done() <-chan struct{} {
	if closed(c.w.hold) {
		enough := make(chan struct{})
		time.AfterFunc(c.lasts, func() { close(enough) })
		return enough
	}
	// While the pool fills, nobody goes; then all go, one after the other.
	enough := make(chan struct{})
	go func() {
		select {
		case <-c.w.hold:
		case <-c.w.stop:
		}
		time.AfterFunc(c.lasts, func() { close(enough) })
	}()
	return enough
}
