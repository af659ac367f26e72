package sim_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// worker is a virtual worker: it serves connections that nobody sends a byte
// over, and speaks to Redis as a real one does.
type worker struct {
	w   *world
	h   host
	me  state.Worker
	end chan struct{} // closed when it dies

	mu      sync.Mutex
	number  int64
	served  int
	serving map[string]*served
}

type served struct {
	state.Serving
	cut chan struct{} // closed when its worker closes the connection
}

func (w *world) newWorker(h host, i int, endpoint string) *worker {
	id := fmt.Sprintf("w%d", w.workerIDs.Add(1))
	if endpoint == "" {
		endpoint = id + ":3131"
	}
	k := &worker{w: w, h: h, end: make(chan struct{}), number: 1, serving: map[string]*served{},
		me: state.Worker{ID: id, Endpoint: endpoint, Browser: "chromium", BrowserVersion: "140.0.1", Playwright: "1.65.1", Isolation: []string{"context"}, Slots: w.slots}}
	switch i % 4 {
	case 1:
		k.me.Playwright = "1.64.0"
	case 2:
		k.me.Labels = map[string]string{"gpu": "1"}
	}
	w.gates.Store(endpoint, k)
	w.all.Add(1)
	go k.run()
	return k
}

func (k *worker) dead() bool { return closed(k.end) }

func (k *worker) run() {
	defer k.w.all.Done()
	k.join(false)
	tick := time.NewTicker(k.w.o.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-k.end:
			return
		case <-k.w.stop:
			return
		case <-tick.C:
			k.beat()
		}
	}
}

func (k *worker) snapshot() (number int64, served int, list []state.Serving) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.serving {
		list = append(list, s.Serving)
	}
	return k.number, k.served, list
}

func (k *worker) join(again bool) {
	number, served, list := k.snapshot()
	r, err := k.h.Join(context.Background(), state.JoinRequest{Worker: k.me, State: state.Ready, Number: number, Served: served, Rejoin: again, Sessions: list})
	if err != nil {
		k.w.t.Errorf("join: %v", err)
	}
	k.drop(r.Ended)
}

func (k *worker) beat() {
	k.mu.Lock()
	k.number++
	k.mu.Unlock()
	number, _, list := k.snapshot()
	ids := make([]string, len(list))
	for i, s := range list {
		ids[i] = s.Session
	}
	slices.Sort(ids)
	r, err := k.h.Heartbeat(context.Background(), state.Beat{Worker: k.me.ID, Number: number, State: state.Ready, Missing: "worker_closed", Serving: ids})
	switch {
	case err != nil:
		k.w.t.Errorf("heartbeat: %v", err)
	case k.dead():
	case r.Join:
		k.join(true)
	default:
		k.drop(r.Ended)
	}
}

func (k *worker) drop(ended []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ended {
		if s := k.serving[id]; s != nil {
			delete(k.serving, id)
			close(s.cut)
		}
	}
}

// dial is a proxy's connection to the gate; nil when it fails.
func (k *worker) dial(g state.Grant, proxy, name string) *served {
	if k.dead() || k.me.ID != g.Worker {
		return nil
	}
	s := &served{state.Serving{Session: g.Session, Proxy: proxy, Attempt: g.Attempt, Name: name, Nonce: g.Session}, make(chan struct{})}
	k.mu.Lock()
	if len(k.serving) >= k.me.Slots {
		// The one before may have closed its connection a moment ago: a real gate waits for it a little.
		k.mu.Unlock()
		return nil
	}
	k.serving[g.Session] = s
	number := k.number
	k.mu.Unlock()
	a, err := k.h.Start(context.Background(), g.Session, k.me.ID, g.Attempt, g.Session, number)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil || a != state.StartOK || k.dead() || k.serving[g.Session] != s {
		delete(k.serving, g.Session)
		return nil
	}
	k.served++
	return s
}

// hangUp is the end of a connection, as the gate sees it.
func (k *worker) hangUp(session string) {
	k.mu.Lock()
	_, has := k.serving[session]
	delete(k.serving, session)
	k.mu.Unlock()
	if !has || k.dead() {
		return
	}
	if err := k.h.Finish(context.Background(), state.SideWorker, k.me.ID, state.End{Session: session, Reason: "client_closed"}); err != nil {
		k.w.t.Errorf("finish: %v", err)
	}
}

// kill is kill -9: connections break, and nobody says a word.
func (k *worker) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.end)
	for id, s := range k.serving {
		delete(k.serving, id)
		close(s.cut)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
