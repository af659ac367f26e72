package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is the clients and what they have written down.
type crowd struct {
	w       *world
	seed    uint64
	stop    chan struct{}
	clients sync.WaitGroup

	mu      sync.Mutex
	records []record
}

func newCrowd(w *world, seed uint64) *crowd {
	c := &crowd{w: w, seed: seed, stop: make(chan struct{})}
	for i := range w.size.clients {
		c.clients.Go(func() { c.client(i) })
	}
	return c
}

// client comes again and again.
func (c *crowd) client(n int) {
	r := rand.New(rand.NewPCG(c.seed, uint64(n)+1))
	for visit := 0; ; visit++ {
		v := &visitor{random: r, stay: chat(r, c.stop)}
		v.name = fmt.Sprintf("c%d-%d", n, visit)
		if r.IntN(15) == 0 {
			v.leave = time.Duration(1 + r.IntN(int(300*time.Millisecond)))
		}
		c.over(v, r.IntN(c.w.size.proxies))
		rest := time.Duration(r.ExpFloat64() * float64(30*time.Millisecond))
		if v.outcome == refused || v.outcome == unheard {
			rest += 200 * time.Millisecond
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-c.stop:
			timer.Stop()
			return
		}
	}
}

// over has a visitor come over a proxy.
func (c *crowd) over(v *visitor, proxy int) record {
	v.proxy, v.address = proxy, c.w.proxies[proxy].Address
	r := v.visit()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, r)
	return r
}

// finish lets the clients end what they do.
func (c *crowd) finish() {
	close(c.stop)
	c.clients.Wait()
}

// fill has clients take n slots at once, each of which stays until all are
// taken, though no longer than the pool may need to take one back from what has
// gone (I3). More clients wait for one of them: a slot that has leaked, or a
// wake-up that got lost, leaves somebody outside. Clients that are told to try
// again do. It returns the last record of each.
func (c *crowd) fill(n, more int) []record {
	var all sync.WaitGroup
	var in atomic.Int64
	full := make(chan struct{})
	stay := func(r *rand.Rand) func(*talk) error {
		return func(t *talk) error {
			if err := t.who(); err != nil {
				return err
			}
			if in.Add(1) == int64(n) {
				close(full)
			}
			if err := t.pause(c.w.Settles(), full); err != nil {
				return err
			}
			if in.Load() < int64(n) {
				return &endError{hung, fmt.Sprintf("the slots were not all taken after %s", c.w.Settles())}
			}
			return t.echoes(r, true)
		}
	}
	records := make([]record, n+more)
	end := time.Now().Add(silence)
	for i := range records {
		all.Go(func() {
			r := rand.New(rand.NewPCG(c.seed, uint64(1_000_000+i)))
			for visit := 0; ; visit++ {
				v := &visitor{query: fmt.Sprintf("&timeout=%d", (silence / 2).Milliseconds()), random: r, stay: stay(r)}
				v.name = fmt.Sprintf("last-%d-%d", i, visit)
				records[i] = c.over(v, i%c.w.size.proxies)
				if records[i].outcome != refused || time.Now().After(end) {
					return
				}
				again := time.NewTimer(200 * time.Millisecond)
				<-again.C
			}
		})
	}
	all.Wait()
	return records
}

// all is what has been written down so far.
func (c *crowd) all() []record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.records)
}
