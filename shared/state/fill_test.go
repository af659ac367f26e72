package state_test

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// fleet is a pool with sessions in it, for tests of what one more session costs.
// Clients come and go in turns: who came first ends first.
type fleet struct {
	*pool
	demand  state.Demand
	limit   int
	ids     atomic.Int64
	mu      sync.Mutex
	running []state.Grant
}

// newFleet makes workers of the given number of flavours, which differ in their
// Playwright version.
func newFleet(p *pool, workers, flavours, slots int, demand state.Demand) *fleet {
	f := &fleet{pool: p, demand: demand, limit: 1 << 30}
	require.NoError(p.t, p.Store.Finish(ctx, state.SideProxy, "p1")) // makes the epoch
	p.proxyBeat("p1")
	atOnce(workers, func(i int) {
		w := worker(fmt.Sprint("w", i), slots)
		w.Playwright = fmt.Sprintf("1.%d.0", i%flavours)
		reply, err := p.Join(ctx, state.JoinRequest{Worker: w, State: state.Ready, Number: 1})
		if err != nil || reply.FlavourLimit > 0 {
			p.t.Errorf("%+v %v", reply, err)
		}
	})
	return f
}

// atOnce makes n calls over one connection, many of them at a time.
func atOnce(n int, call func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, 16) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				call(i)
			}
		})
	}
	all.Wait()
}

// come asks for one more session and starts it if it gets a slot.
func (f *fleet) come() {
	id := fmt.Sprintf("%032d", f.ids.Add(1))
	st, err := f.Acquire(ctx, state.Request{Session: id, Proxy: "p1", Demand: f.demand, Name: "checkout of a basket", Labels: map[string]string{"team": "shop"},
		Token: "ci", Client: "192.0.2.1:34567", QueueLimit: f.limit})
	switch {
	case err != nil:
		f.t.Errorf("acquire: %v", err)
	case st.Phase == state.Assigned:
		f.start(st.Grant)
	case st.Phase != state.Queued:
		f.t.Errorf("acquire: %+v", st)
	}
}

func (f *fleet) start(g state.Grant) {
	a, err := f.Start(ctx, g.Session, g.Worker, g.Attempt, g.Session, 1)
	if err != nil || a != state.StartOK {
		f.t.Errorf("start: %v %v", a, err)
	}
	f.mu.Lock()
	f.running = append(f.running, g)
	f.mu.Unlock()
}

// end ends the session that has run for longest; whoever gets its slot starts.
func (f *fleet) end() {
	f.mu.Lock()
	if len(f.running) == 0 {
		f.mu.Unlock()
		f.t.Errorf("nothing runs")
		return
	}
	g := f.running[0]
	f.running = f.running[1:]
	f.mu.Unlock()
	e := state.End{Session: g.Session, Reason: "client_closed", Counts: state.Counts{BytesUp: 48213, BytesDown: 1730554, MessagesUp: 322, MessagesDown: 911}}
	if err := f.Finish(ctx, state.SideWorker, g.Worker, e); err != nil {
		f.t.Errorf("finish: %v", err)
	}
}

// granted starts whoever has got a slot since; it is what the reader of the
// proxy's inbox does.
func (f *fleet) granted() {
	f.mu.Lock()
	list := f.inbox("p1")
	f.mu.Unlock()
	for _, n := range list {
		f.start(n.Grant)
	}
}

// cycle is one session more and one less.
func (f *fleet) cycle(queue bool) {
	f.come()
	f.end()
	if queue {
		f.granted()
	}
}
