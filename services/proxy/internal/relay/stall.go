package relay

import (
	"sync"
	"time"
)

// stuckSet watches directions whose destination does not take what waits for
// it. One ticker serves all of them, and none runs while nobody is stuck.
type stuckSet struct {
	mu       sync.Mutex
	since    map[*dir]time.Time
	watching bool
}

func (w *stuckSet) add(d *dir) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.since[d]; known {
		return
	}
	if w.since == nil {
		w.since = map[*dir]time.Time{}
	}
	w.since[d] = time.Now()
	if !w.watching {
		w.watching = true
		go w.watch(d.session.relay.options.Stall)
	}
}

func (w *stuckSet) remove(d *dir) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.since, d)
}

func (w *stuckSet) watch(limit time.Duration) {
	t := time.NewTicker(min(time.Second, limit/4))
	defer t.Stop()
	for now := range t.C {
		stalled, empty := w.look(now, limit)
		for _, d := range stalled {
			d.session.abort(ReasonStalled)
		}
		if empty {
			return
		}
	}
}

func (w *stuckSet) look(now time.Time, limit time.Duration) (stalled []*dir, empty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for d, since := range w.since {
		switch {
		case d.moved.Swap(false):
			w.since[d] = now
		case !d.blocked.Load():
			delete(w.since, d)
		case now.Sub(since) >= limit:
			delete(w.since, d)
			stalled = append(stalled, d)
		}
	}
	w.watching = len(w.since) > 0
	return stalled, !w.watching
}
