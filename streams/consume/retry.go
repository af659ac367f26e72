package consume

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	firstWait = 100 * time.Millisecond
	longWait  = 5 * time.Second
)

// backoff spaces attempts to reach Redis. The zero value is ready.
type backoff struct{ wait time.Duration }

func (b *backoff) reset() { b.wait = 0 }

// next is how long to wait now: doubling up to a limit, with jitter, so that
// readers that lost Redis together do not come back together.
func (b *backoff) next() time.Duration {
	b.wait = min(max(firstWait, 2*b.wait), longWait)
	return b.wait/2 + rand.N(b.wait/2) //nolint:gosec // jitter is no secret
}

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// passing are the answers of a Redis that is on its way up, down or over to
// another node.
var passing = []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "BUSY", "UNBLOCKED", "MOVED", "ASK",
	"NOREPLICAS", "OOM", "MISCONF"}

// final tells whether trying again cannot help without somebody's action, such as
// a wrong password or a key of another type.
func final(err error) bool {
	if errors.Is(err, rueidis.ErrClosing) {
		return true
	}
	e, ok := redisError(err)
	if !ok || e.IsNil() {
		return false
	}
	code, _, _ := strings.Cut(e.Error(), " ")
	return !slices.Contains(passing, code) && !strings.HasPrefix(e.Error(), "max number of clients reached")
}

// redisError finds an answer of Redis in a chain of errors, where
// rueidis.IsRedisErr sees only the first.
func redisError(err error) (*rueidis.RedisError, bool) {
	var e *rueidis.RedisError
	ok := errors.As(err, &e)
	return e, ok
}

// limited returns a context for one command that ends with ctx or after limit.
// It carries no deadline: with one, rueidis waits in a read that does not see the
// end of ctx.
func limited(ctx context.Context, limit time.Duration) (context.Context, func()) {
	call, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	timer := time.AfterFunc(limit, func() { cancel(context.DeadlineExceeded) })
	return call, func() {
		stop()
		timer.Stop()
		cancel(nil)
	}
}
