package edge

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxAddresses bounds the addresses that are remembered; the one that was
// quiet for longest is forgotten first.
const maxAddresses = 4096

// failures counts wrong credentials for each address.
type failures struct {
	perMinute int // 0 = no limit

	mu     sync.Mutex
	of     map[netip.Prefix]*list.Element
	recent *list.List // of *offender, the latest first
}

type offender struct {
	address netip.Prefix
	limit   *rate.Limiter
}

func newFailures(perMinute int) *failures {
	return &failures{perMinute: perMinute, of: map[netip.Prefix]*list.Element{}, recent: list.New()}
}

// often notes a failure and tells whether there have been too many, and how
// long the next one should wait.
func (f *failures) often(a netip.Prefix) (wait time.Duration, yes bool) {
	if f.perMinute <= 0 {
		return 0, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.of[a]
	if e == nil {
		if len(f.of) >= maxAddresses {
			oldest := f.recent.Back()
			delete(f.of, f.recent.Remove(oldest).(*offender).address)
		}
		e = f.recent.PushFront(&offender{a, rate.NewLimiter(rate.Limit(float64(f.perMinute)/60), f.perMinute)})
		f.of[a] = e
	}
	f.recent.MoveToFront(e)
	r := e.Value.(*offender).limit.Reserve()
	if wait = r.Delay(); wait > 0 {
		r.Cancel()
		return wait, true
	}
	return 0, false
}
