package event

// Window remembers the last ids it was given, to tell repetitions. It is not
// safe for concurrent use.
type Window struct {
	seen map[string]struct{}
	ring []string
	next int
	size int
}

// NewWindow returns a window over the last size ids; at least one.
func NewWindow(size int) *Window {
	return &Window{size: max(1, size), seen: map[string]struct{}{}}
}

// Has tells whether the id is among the last ones.
func (w *Window) Has(id string) bool {
	_, ok := w.seen[id]
	return ok
}

// Add remembers an id and tells whether it is new.
func (w *Window) Add(id string) bool {
	if w.Has(id) {
		return false
	}
	w.seen[id] = struct{}{}
	if len(w.ring) < w.size {
		w.ring = append(w.ring, id)
		return true
	}
	delete(w.seen, w.ring[w.next])
	w.ring[w.next] = id
	w.next = (w.next + 1) % w.size
	return true
}
