package standin

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Version is the Playwright that stand-in workers say they run.
const Version = "1.65.1"

// Workers are members of a pool.
type Workers struct {
	store   *state.Store
	client  rueidis.Client
	workers map[string]*worker // by endpoint
}

type worker struct {
	id string

	// starting is held for reading by starts under way and for writing by a
	// heartbeat, whose snapshot must know of each session whether it has started.
	starting sync.RWMutex
	number   int64

	mu        sync.Mutex
	live      map[string]struct{}
	outbox    []state.End // not reported yet
	reporting bool
}

// Join brings workers into the pool, each with so many slots and no lifetime.
// Their endpoints are addresses of this machine's loopback network at one port.
func Join(ctx context.Context, redis string, count, slots, port int) (*Workers, error) {
	option, err := rueidis.ParseURL(redis)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	// As workers connect, which put their calls into one pipeline.
	option.DisableCache, option.ForceSingleClient, option.PipelineMultiplex = true, true, -1
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	pool, err := keys.For("default")
	if err != nil {
		return nil, err
	}
	store, err := state.New(client, pool, state.DefaultOptions(), nil)
	if err != nil {
		return nil, err
	}
	w := &Workers{store: store, client: client, workers: map[string]*worker{}}
	for i := range count {
		// One port, as many addresses: a pool wants endpoints that differ.
		endpoint := fmt.Sprintf("127.%d.%d.1:%d", 1+i/250, 1+i%250, port)
		one := &worker{id: fmt.Sprintf("standin-%d-%d-%s", port, i, rand.Text()[:6]), number: 1, live: map[string]struct{}{}}
		reply, err := store.Join(ctx, state.JoinRequest{
			Worker: state.Worker{
				ID: one.id, Endpoint: endpoint, Browser: "chromium", BrowserVersion: "stand-in", Playwright: Version,
				Isolation: []string{"context"}, Slots: slots,
			},
			State: state.Ready, Number: 1,
		})
		if err != nil {
			return nil, err
		}
		if reply.Replaced != "" || reply.Stale || reply.FlavourLimit > 0 {
			return nil, fmt.Errorf("the pool does not take stand-in worker %d: %+v", i, reply)
		}
		w.workers[endpoint] = one
	}
	return w, nil
}

// Run sends heartbeats until the context ends, spread over their interval as
// those of real workers are.
func (w *Workers) Run(ctx context.Context) {
	gap := w.store.Options().Heartbeat / time.Duration(len(w.workers))
	tick := time.NewTicker(max(gap, time.Millisecond))
	defer tick.Stop()
	for {
		for _, one := range w.workers {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			w.beat(ctx, one)
		}
	}
}

func (w *Workers) beat(ctx context.Context, one *worker) {
	one.starting.Lock()
	one.number++
	one.mu.Lock()
	b := state.Beat{Worker: one.id, Number: one.number, State: state.Ready, Missing: "worker_closed", Serving: slices.Collect(maps.Keys(one.live))}
	one.mu.Unlock()
	one.starting.Unlock()
	reply, err := w.store.Heartbeat(ctx, b)
	if ctx.Err() == nil && (err != nil || reply.Join || reply.Stale) {
		fmt.Fprintln(os.Stderr, "stand-in: heartbeat of", one.id, "failed:", err, reply)
	}
}

// Leave takes all workers out of the pool.
func (w *Workers) Leave(ctx context.Context) {
	for _, one := range w.workers {
		one.starting.Lock()
		one.number++
		number := one.number
		one.starting.Unlock()
		if _, err := w.store.Leave(ctx, one.id, state.RetireDrain, number, true); err != nil {
			fmt.Fprintln(os.Stderr, "stand-in: leave:", err)
		}
	}
	w.client.Close()
}

// Start implements [Gate].
func (w *Workers) Start(ctx context.Context, endpoint string, headers map[string]string) (end func(), err error) {
	one := w.workers[endpoint]
	if one == nil {
		return nil, fmt.Errorf("no worker at %s", endpoint)
	}
	session := headers["x-pwdist-session"]
	attempt, err := strconv.Atoi(headers["x-pwdist-attempt"])
	if err != nil {
		return nil, fmt.Errorf("attempt: %w", err)
	}
	one.starting.RLock()
	defer one.starting.RUnlock()
	answer, err := w.store.Start(ctx, session, one.id, attempt, rand.Text(), one.number)
	if err == nil && answer != state.StartOK {
		err = fmt.Errorf("the pool says %s", answer)
	}
	if err != nil {
		return nil, err
	}
	one.mu.Lock()
	one.live[session] = struct{}{}
	one.mu.Unlock()
	return func() { w.report(ctx, one, state.End{Session: session, Reason: "client_closed"}) }, nil
}

// report tells the pool of an end. What ends while a call is under way goes
// into the next one, as with real workers.
func (w *Workers) report(ctx context.Context, one *worker, e state.End) {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.outbox = append(one.outbox, e)
	if one.reporting {
		return
	}
	one.reporting = true
	for len(one.outbox) > 0 {
		ends := one.outbox
		one.outbox = nil
		one.mu.Unlock()
		err := w.store.Finish(ctx, state.SideWorker, one.id, ends...)
		if err != nil {
			fmt.Fprintln(os.Stderr, "stand-in: finish:", err)
		}
		one.mu.Lock()
		for _, e := range ends {
			delete(one.live, e.Session)
		}
	}
	one.reporting = false
}
