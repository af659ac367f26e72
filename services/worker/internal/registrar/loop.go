package registrar

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// loop does what is due whenever something was noted, and a heartbeat when
// its time comes.
func (r *Registrar) loop() {
	defer close(r.done)
	timer := time.NewTimer(r.o.Heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-r.quit:
			return
		case <-r.wake:
		case <-timer.C:
			r.tick()
			r.o.Beating()
			timer.Reset(r.o.Heartbeat)
		}
		if r.act() {
			timer.Reset(r.o.Heartbeat)
		}
		select {
		case r.moved <- struct{}{}:
		default:
		}
	}
}

func (r *Registrar) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paused = false
	r.beat = r.joined
	// Who is too large and was not let go has no session's end to ask at: without
	// a lifetime it has none, and it may be idle.
	if r.retire == "" {
		r.retire = r.early
	}
}

// act makes the calls that are due, in the order in which the pool must hear
// of things, and tells whether a heartbeat was among them.
func (r *Registrar) act() (beaten bool) {
	for {
		var err error
		switch r.due() {
		case nothing:
			return beaten
		case joining:
			err = r.callJoin()
			beaten = true
		case beating:
			err = r.callHeartbeat()
			beaten = true
		case finishing:
			err = r.callFinish()
			r.judge(err)
			// Where a call takes long, another session has ended by then. A heartbeat that is
			// due must not wait for the last of them.
			r.poke()
			return beaten
		case asking:
			err = r.callRetire()
		case leaving:
			err = r.callLeave()
		}
		r.judge(err)
	}
}

type duty int

const (
	nothing duty = iota
	joining
	beating
	finishing
	asking
	leaving
)

func (r *Registrar) due() duty {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkLifetime()
	switch {
	case r.paused || r.left:
		return nothing
	case r.join:
		r.entering = true // before the lock is let go: whoever stops it now waits for the answer
		return joining
	case !r.joined:
		return nothing
	case r.beat:
		return beating
	case len(r.outbox) > 0 && !r.leavingNow():
		return finishing
	case r.retire != "" && !r.granted:
		return asking
	case r.leavingNow():
		return leaving
	}
	return nothing
}

// checkLifetime makes the worker want to go at the end of its lifetime. The
// lock is held.
func (r *Registrar) checkLifetime() {
	if r.limit > 0 && r.started >= r.limit && r.retire == "" {
		r.retire = cmp.Or(r.early, state.RetireLifetime)
	}
}

// leavingNow tells whether to try to leave. Leaving reports ends, too. A
// refused try is repeated with the next heartbeat or end, which make held
// false. The lock is held.
func (r *Registrar) leavingNow() bool {
	return len(r.live) == 0 && (r.force || r.granted && !r.held)
}

// judge notes what an error means for what comes next.
func (r *Registrar) judge(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		if r.failed {
			r.o.Log.Info("the pool is back")
		}
		r.failed = false
	case errors.Is(err, state.ErrSchema):
		r.left = true
		r.end(err)
	case errors.Is(err, errReplaced):
		r.left = true
		for _, l := range r.live {
			r.close(l)
		}
		r.end(err)
	case errors.Is(err, errFlavours):
		r.paused = true
		if !r.refused {
			r.o.Log.Error(err.Error() + ": stop the last workers of another kind, or give this one the labels of others; trying again with every heartbeat")
		}
		r.refused = true
	case errors.Is(err, errOvertaken):
		r.paused = true
		r.trouble = err.Error()
		if !r.failed {
			r.o.Log.Warn(r.trouble + ": stop what else uses this worker's id; trying again with every heartbeat")
		}
		r.failed = true
	default:
		r.paused = true
		r.o.Failed()
		r.trouble = "Redis cannot be reached"
		if why, full := redisx.WriteRefusal(err); full {
			r.trouble = "Redis refuses writes: " + why
		}
		if !r.failed {
			r.o.Log.Warn("cannot reach the pool; sessions go on, and what ends is reported later", zap.Error(err))
		}
		r.failed = true
	}
	r.o.Standing(r.outlook())
}

// outlook tells whether the worker takes sessions, and why not. The lock is
// held.
func (r *Registrar) outlook() (ok bool, why string) {
	switch {
	case r.left:
		return false, "it has left the pool"
	case r.failed:
		return false, r.trouble
	case r.refused:
		return false, errFlavours.Error()
	case !r.joined:
		return false, "it has not joined the pool"
	case r.granted, r.retire == state.RetireDrain:
		return false, "it is retiring"
	}
	return true, ""
}

func (r *Registrar) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), callTime)
}

// standing is what the worker is to the pool. The lock is held.
func (r *Registrar) standing() state.WorkerState {
	switch {
	case r.granted:
		return state.Retiring
	case r.up:
		return state.Ready
	}
	return state.Unhealthy
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

// closeAll ends sessions that the pool has ended. The lock is held.
func (r *Registrar) closeAll(sessions []string) {
	for _, l := range r.live {
		if slices.Contains(sessions, l.Session) {
			r.close(l)
		}
	}
}

// close ends a session that is over for the pool. The lock is held.
func (r *Registrar) close(l *live) {
	if l.starting || l.over {
		return
	}
	l.over = true
	r.o.Log.Info("closing a session that the pool has ended", zap.String("session", l.Session))
	l.end(gate.Ending{Reason: reasonKilled, Text: "the pool has ended this session"})
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
