package relay

import (
	"sync"
	"time"
)

// stuckSet watches directions whose destination does not take what waits for
// it. One ticker serves all of them, and none runs while nobody is stuck.
type stuckSet struct {
	mu       sync.Mutex
	since    map[*dir]standstill
	watching bool
}

// standstill is since when a destination has taken nothing, and how many bytes
// were on their way to it then. The kernel tells of room only when a third of
// its buffer is empty, which a slow reader may need minutes for.
type standstill struct {
	begun  time.Time
	queued int64
}

func (w *stuckSet) add(d *dir) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.since[d]; known {
		return
	}
	if w.since == nil {
		w.since = map[*dir]standstill{}
	}
	w.since[d] = standstill{time.Now(), d.dst.queued()}
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
		if len(stalled) > 0 {
			go stalled[0].relay.cut(stalled, ReasonStalled)
		}
		if empty {
			return
		}
	}
}

func (w *stuckSet) look(now time.Time, limit time.Duration) (stalled []*Session, empty bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for d, still := range w.since {
		queued := d.dst.queued()
		switch {
		case d.moved.Swap(false) || queued != still.queued:
			w.since[d] = standstill{now, queued}
		case !d.blocked.Load():
			delete(w.since, d)
		case now.Sub(still.begun) >= limit:
			delete(w.since, d)
			stalled = append(stalled, d.session)
		}
	}
	w.watching = len(w.since) > 0
	return stalled, !w.watching
}
