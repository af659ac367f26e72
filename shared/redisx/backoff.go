package redisx

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives the waits between attempts: doubling from a first to a last
// one. The zero value is not usable.
type backoff struct {
	first, last time.Duration
	next        time.Duration
}

// wait is the next wait. Up to a fifth is random, so that the processes of a
// pool do not come back all at once.
func (b *backoff) wait() time.Duration {
	if b.next == 0 {
		b.next = b.first
	}
	d := b.next
	b.next = min(2*b.next, b.last)
	return d - rand.N(d/5+1) //nolint:gosec // a wait is no secret
}

// reset makes the next wait the first again.
func (b *backoff) reset() { b.next = 0 }

// pause waits for d and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
