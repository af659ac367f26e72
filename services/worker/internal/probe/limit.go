package probe

import (
	"context"
	"errors"
	"time"
)

// maxStretch is how many times its limit a probe takes at most, on a machine
// that has no CPU to spare, or whose disks or memory keep everybody waiting.
const maxStretch = 6

// errLate is the cause of the end of a probe that took too long.
var errLate = errors.New("no answer in time")

// withLimit gives a probe its limit, which counts only time in which the machine
// starved nobody: a browser that waits for the CPU, a disk or memory is slow and
// not hung. Whether it did is asked when the limit is over, so a probe that is
// in time costs nothing.
func withLimit(ctx context.Context, limit time.Duration, starved func() time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	began, before := time.Now(), starved()
	var timer *time.Timer
	check := func() {
		left := remaining(limit, time.Since(began), starved()-before)
		if left <= 0 {
			cancel(errLate)
			return
		}
		timer.Reset(left)
	}
	armed := make(chan struct{})
	timer = time.AfterFunc(limit, func() {
		<-armed
		check()
	})
	close(armed)
	return ctx, func() {
		cancel(context.Canceled)
		timer.Stop()
	}
}

// remaining is what is left of a limit after some time, of which a part was
// starved.
func remaining(limit, elapsed, starved time.Duration) time.Duration {
	counted := elapsed - min(max(starved, 0), elapsed)
	left := min(limit-counted, maxStretch*limit-elapsed)
	if left < limit/20 {
		return 0 // not worth another look
	}
	return left
}
