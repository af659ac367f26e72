package registrar

import (
	"cmp"
	"errors"
	"time"

	"go.uber.org/zap"

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

// Wanted tells whether the pool may assign sessions to this worker.
func (r *Registrar) Wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ok, _ := r.outlook()
	return ok
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
