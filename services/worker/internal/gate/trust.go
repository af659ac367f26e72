package gate

import (
	"sync"
	"time"
)

const (
	// trustTime is how long a proxy is known after the last session that it
	// brought.
	trustTime = 10 * time.Minute
	// maxKnown bounds the proxies that are remembered.
	maxKnown = 1000
)

// acquaintances are the proxies that have brought sessions which were really
// assigned, by their vouchers: a proxy makes one when it starts, and tells workers
// alone, while its id is in events and records. Whoever has the voucher of one
// of them is not asked for its assignment before the server's handshake, but only
// when the session is started, which decides; one lie, and it is asked before again.
type acquaintances struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (a *acquaintances) know(voucher string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.seen[voucher]
	return ok && time.Since(at) < trustTime
}

func (a *acquaintances) meet(voucher string) {
	if voucher == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil || len(a.seen) >= maxKnown {
		a.seen = map[string]time.Time{}
	}
	a.seen[voucher] = time.Now()
}

func (a *acquaintances) forget(voucher string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seen, voucher)
}
