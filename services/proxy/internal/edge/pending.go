package edge

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	// pendingGrace is how long an unfinished request is nobody's concern: a
	// hundred clients that connect at once are just that.
	pendingGrace = time.Second
	// pendingBurst is how many times the limit may be unfinished within that.
	pendingBurst = 10
)

// pending bounds the connections of an address whose request is not complete.
// Above the limit the oldest one has to go, so that who opens many and sends
// nothing does not keep others out who share the address.
type pending struct {
	limit int // 0 = none
	grace time.Duration

	mu sync.Mutex
	of map[netip.Prefix]*list.List // of *door, the oldest first
}

func newPending(limit int) *pending {
	return &pending{limit: limit, grace: pendingGrace, of: map[netip.Prefix]*list.List{}}
}

// enter adds a door. What it returns, if anything, must be closed: the oldest
// of that address, or the new one itself.
func (p *pending) enter(d *door) (evict *door) {
	// Whose connection a balancer passes on is known only when the request is complete.
	if p.limit <= 0 || d.address.Addr().IsLoopback() || d.trusted {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.of[d.address]
	if l == nil {
		l = list.New()
		p.of[d.address] = l
	}
	if l.Len() >= p.limit {
		oldest := l.Front().Value.(*door)
		switch {
		case d.since.Sub(oldest.since) >= p.grace:
			p.remove(l, oldest)
			evict = oldest
		case l.Len() >= p.limit*pendingBurst:
			return d
		}
	}
	d.place = l.PushBack(d)
	return evict
}

// leave takes a door out: its request is complete, or it has closed.
func (p *pending) leave(d *door) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.of[d.address]; l != nil && d.place != nil {
		p.remove(l, d)
		if l.Len() == 0 {
			delete(p.of, d.address)
		}
	}
}

func (p *pending) remove(l *list.List, d *door) {
	l.Remove(d.place)
	d.place = nil
}

// len is how many are there.
func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.of {
		n += l.Len()
	}
	return n
}
