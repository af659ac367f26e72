package registrar

import (
	"context"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func (r *Registrar) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callTime)
}

func (r *Registrar) callJoin() error {
	r.mu.Lock()
	q := state.JoinRequest{Worker: r.o.Worker, Number: r.nextNumber(), Served: r.started, Rejoin: r.joined, State: r.standing()}
	q.Lifetime, q.Sessions, q.Untold = r.limit, r.serving(), r.untold()
	r.join, r.beat = false, false
	r.mu.Unlock()

	ctx, done := r.call()
	defer done()
	reply, err := r.store.Join(ctx, q)
	switch {
	case err == nil && reply.Replaced != "":
		err = replacedBy(reply.Replaced, q.Endpoint)
	case err == nil && reply.FlavourLimit > 0:
		err = errFlavours
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.join, r.entering = true, false
		return err
	case reply.Stale && reply.Last == state.FinalNumber:
		// It was let go, and the reply was lost.
		r.gone(r.retire)
		return nil
	case reply.Stale:
		r.number = max(r.number, reply.Last)
		r.join = true
		if r.overtaken {
			r.entering = false
			return errOvertaken
		}
		r.overtaken = true
		return nil
	}
	r.overtaken = false
	first := !r.joined
	r.joined, r.entering, r.refused, r.epoch = true, false, false, reply.Epoch
	// The reply of another call may have shown a still newer one, which was told nothing.
	r.join = r.heard != reply.Epoch
	if !r.join {
		r.reported(len(q.Untold))
	}
	// The pool may have forgotten that it let the worker go.
	r.granted, r.held = q.State == state.Retiring, false
	// The browser may have come or gone meanwhile.
	r.beat = r.beat || q.State != r.standing()
	r.closeAll(reply.Ended)
	what := "joined the pool"
	if !first {
		what = "joined the pool again"
	}
	r.o.Log.Info(what, zap.String("endpoint", q.Endpoint), zap.String("browser", q.Browser+" "+q.BrowserVersion),
		zap.String("playwright", q.Playwright), zap.Int("slots", q.Slots), zap.Int("lifetime", q.Lifetime), zap.Int("sessions", len(q.Sessions)))
	return nil
}

func (r *Registrar) callHeartbeat() error {
	r.mu.Lock()
	b := state.Beat{Worker: r.o.Worker.ID, Number: r.nextNumber(), State: r.standing(), Missing: reasonMissing, Ended: pending(r.outbox)}
	if !r.up {
		b.Missing = r.down
	}
	for _, l := range r.live {
		if !l.starting && !l.over {
			b.Serving = append(b.Serving, l.Session)
		}
	}
	r.beat = false
	r.mu.Unlock()

	ctx, done := r.call()
	defer done()
	reply, err := r.store.Heartbeat(ctx, b)

	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.beat = true
		return err
	case reply.Stale:
		r.number = max(r.number, reply.Last)
		r.beat = true
		return nil
	case reply.Join:
		// What was to be reported with it may not have been.
		r.join = true
		return nil
	}
	r.reported(len(b.Ended))
	r.held = false
	r.closeAll(reply.Ended)
	return nil
}

func (r *Registrar) callFinish() error {
	r.mu.Lock()
	ends := pending(r.outbox)
	r.mu.Unlock()
	ctx, done := r.call()
	defer done()
	if err := r.store.Finish(ctx, state.SideWorker, r.o.Worker.ID, ends...); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.join {
		return nil // the call may have been the first to an empty Redis, which knew none of them
	}
	r.reported(len(ends))
	r.held = false
	return nil
}

func (r *Registrar) callRetire() error {
	r.mu.Lock()
	reason, number := r.retire, r.number
	r.mu.Unlock()
	ctx, done := r.call()
	defer done()
	reply, err := r.store.Retire(ctx, r.o.Worker.ID, reason, number)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case reply.Unknown:
		r.join = true
	case reply.Retiring:
		r.granted = true
		r.o.Log.Info("retiring: no new sessions", zap.String("reason", reason), zap.Int("served", r.started), zap.Int("running", reply.Held))
	default:
		if r.retire == reason {
			r.retire = ""
		}
		limit := r.limit
		if reply.Lifetime > 0 {
			r.limit = max(reply.Lifetime, r.started+1)
		}
		if r.limit != limit || !r.later {
			r.o.Log.Info("others are retiring already: serving on", zap.Int("served", r.started), zap.Int("lifetime", r.limit))
		}
		r.later = true
	}
	return nil
}

func (r *Registrar) callLeave() error {
	r.mu.Lock()
	reason, number, force, ends := r.retire, r.number, r.force, pending(r.outbox)
	r.mu.Unlock()
	ctx, done := r.call()
	defer done()
	held, err := r.store.Leave(ctx, r.o.Worker.ID, reason, number, force, ends...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.join && len(ends) > 0 {
		return nil // as in callFinish: it joins, tells them, and leaves
	}
	r.reported(len(ends))
	if held > 0 {
		r.held = true
		return nil
	}
	r.gone(reason)
	return nil
}

// gone notes that the worker has left. The lock is held.
func (r *Registrar) gone(reason string) {
	r.left = true
	r.o.Log.Info("left the pool", zap.String("reason", reason), zap.Int("served", r.started))
	r.end(nil)
}
