package edge

import (
	"slices"
	"sync"
	"time"
)

// tally knows the doors whose request is not complete, and tells when there are none any more.
type tally struct {
	mu    sync.Mutex
	there map[*door]struct{}
	waits []*awaited
}

// awaited is for the doors of connections that were accepted after a time.
type awaited struct {
	after time.Time
	left  int
	over  chan struct{} // closed at 0
}

func (w *awaited) counts(d *door) bool { return d.since.After(w.after) }

func (t *tally) enter(d *door) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.there == nil {
		t.there = map[*door]struct{}{}
	}
	t.there[d] = struct{}{}
	for _, w := range t.waits {
		if w.counts(d) {
			w.left++
		}
	}
}

func (t *tally) leave(d *door) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.there, d)
	t.waits = slices.DeleteFunc(t.waits, func(w *awaited) bool {
		if w.counts(d) {
			w.left--
		}
		if w.left == 0 {
			close(w.over)
		}
		return w.left == 0
	})
}

// none returns a channel that is closed as soon as there is no door of a connection that was
// accepted after a time.
func (t *tally) none(after time.Time) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &awaited{after: after, over: make(chan struct{})}
	for d := range t.there {
		if w.counts(d) {
			w.left++
		}
	}
	if w.left == 0 {
		close(w.over)
	} else {
		t.waits = append(t.waits, w)
	}
	return w.over
}
