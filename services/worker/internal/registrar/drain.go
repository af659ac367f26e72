package registrar

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const (
	// closeTime is what sessions that are closed get for it, and the pool to
	// hear of them.
	closeTime = 4 * time.Second
	// partTime is how long Redis is waited for when nothing else is left to do.
	partTime = 5 * time.Second
)

var drained = gate.Ending{Reason: reasonDrained, Text: "the worker is going away"}

// Stop takes the worker out of its pool: it gets no new sessions, running ones
// end by themselves until the drain is over or ctx ends, what is left is
// closed, and the pool is told.
func (r *Registrar) Stop(ctx context.Context) error {
	r.retreat()
	r.waitGone(ctx)
	close(r.quit)
	<-r.done
	return nil
}

func (r *Registrar) retreat() {
	r.note(func() {
		if !r.joined && !r.entering {
			r.left = true // should the browser come up now, it does not join any more
		}
		if r.left {
			return
		}
		r.retire = state.RetireDrain
		if n := len(r.live); n > 0 {
			r.o.Log.Info("draining", zap.Int("sessions", n), zap.Stringer("deadline", r.o.Drain))
		}
	})
}

func (r *Registrar) waitGone(ctx context.Context) {
	drain := time.NewTimer(r.o.Drain)
	defer drain.Stop()
	deadline, told := drain.C, ctx.Done()
	var alone, last <-chan time.Time
	for {
		gone, stranded := r.progress()
		switch {
		case gone:
			return
		case !stranded:
			alone = nil
		case alone == nil:
			alone = time.After(partTime)
		}
		select {
		case <-r.moved:
			continue
		case <-deadline:
		case <-told:
		case <-alone:
			r.o.Log.Warn("going without a word to the pool, which will miss this worker when its lease has run out")
			return
		case <-last:
			r.o.Log.Warn("going before all was said and done")
			return
		}
		deadline, told = nil, nil
		last = time.After(closeTime)
		r.forceOut()
	}
}

// progress tells whether there is nothing left to do, and whether what is left
// to do is only to tell the pool, which cannot be reached.
func (r *Registrar) progress() (gone, stranded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	idle := len(r.live) == 0
	return idle && (r.left || !r.joined && !r.entering), idle && r.paused
}

// forceOut closes every session.
func (r *Registrar) forceOut() {
	r.note(func() {
		r.force = true
		for _, l := range r.live {
			if !l.starting {
				l.end(drained)
			}
		}
		if n := len(r.live); n > 0 {
			r.o.Log.Warn("closing the sessions that are left", zap.Int("sessions", n))
		}
	})
}
