package admit

import (
	"context"
	"math/rand/v2"
	"time"
)

// reapBatch bounds how many sessions one call ends, and with that how long it
// holds Redis.
const reapBatch = 100

// reap ends what nobody is left to end and returns the time until the next
// deadline. What it does not get done in half a heartbeat it leaves for the next
// call, so that heartbeats do not wait for a slow Redis.
func (a *Admitter) reap(ctx context.Context) time.Duration {
	for began := time.Now(); ctx.Err() == nil; {
		c, done := context.WithTimeout(ctx, callTimeout)
		ended, next, err := a.store.Reap(c, reapBatch)
		done()
		if err != nil {
			a.o.RedisError()
			return -1 // the next heartbeat tells the deadline again
		}
		if next != 0 {
			return next
		}
		if time.Since(began) > a.o.Heartbeat/2 {
			return 0
		}
		if ended == 0 {
			// Something is due that this call cannot end; do not spin on it.
			return a.o.Heartbeat / 10
		}
	}
	return -1
}

// schedule arms the timer for a deadline that comes before the next heartbeat;
// a later one that heartbeat will tell. The jitter keeps the proxies of a pool
// from coming all at once.
func (a *Admitter) schedule(t *time.Timer, next time.Duration) {
	stopTimer(t)
	if next < 0 || next > a.o.Heartbeat {
		return
	}
	t.Reset(next + rand.N(a.o.Heartbeat/20+1)) //nolint:gosec // spreading load needs no secrecy
}

func stopTimer(t *time.Timer) {
	if !t.Stop() {
		select {
		case <-t.C:
		default:
		}
	}
}
