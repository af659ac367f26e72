package gate

import (
	"context"
	"sync/atomic"
	"time"
)

// doubtTime is for how long a server that has closed a session may be about to end.
const doubtTime = 500 * time.Millisecond

// doubt is what the gate thinks of a server that has closed a session by itself. A
// server that dies closes its connections first, and would take in another session
// until it is gone; its client would then lose it with its first call, where it
// could have had another worker.
type doubt struct {
	lasts time.Duration
	since atomic.Int64 // ns since 1970 of the last close
}

func (d *doubt) arise() { d.since.Store(time.Now().UnixNano()) }

// wait lasts until the server has had its time, or is over, or ctx ends. A close
// meanwhile does not make it longer: one client whose connection the server keeps
// closing must not keep others out.
func (d *doubt) wait(ctx context.Context, over <-chan struct{}) {
	left := d.lasts - time.Since(time.Unix(0, d.since.Load()))
	if left <= 0 {
		return
	}
	timer := time.NewTimer(min(left, d.lasts)) // the clock may have been set back
	defer timer.Stop()
	select {
	case <-over:
	case <-ctx.Done():
	case <-timer.C:
	}
}
