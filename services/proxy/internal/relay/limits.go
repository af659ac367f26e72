package relay

import (
	"fmt"
	"maps"
	"time"
)

// overCode is of sessions that came to a limit: a policy (RFC 6455, section 7.4.1).
const overCode = 1008

// limited tells whether sessions have to end some day.
func (o *Options) limited() bool { return o.Idle > 0 || o.Longest > 0 }

// limitStep is how often sessions are looked at for their limits: no later than a
// second after one has come to it, or a quarter of a short one.
func (o *Options) limitStep() time.Duration {
	step := time.Second
	for _, limit := range []time.Duration{o.Idle, o.Longest} {
		if limit > 0 {
			step = min(step, limit/4)
		}
	}
	return max(step, time.Millisecond)
}

// lived is what the limits know of a session.
type lived struct {
	began, active time.Time
	bytes         uint64 // from the client
	turn          uint   // when it was there
	over          bool   // and ends
}

// limit ends the sessions that come to their limits, for as long as there are any. What it
// knows of them is here and not in each session, which without limits costs nothing.
func (r *Relay) limit() {
	tick := time.NewTicker(r.options.limitStep())
	defer tick.Stop()
	known := map[*Session]*lived{}
	for turn := uint(1); ; turn++ {
		now := <-tick.C
		r.mu.Lock()
		all := r.list()
		if len(all) == 0 {
			r.limiting = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		var idle, old []*Session
		for _, s := range all {
			l := known[s]
			if l == nil {
				l = &lived{began: now, active: now}
				known[s] = l
			}
			l.turn = turn
			if bytes := s.dirs[clientSide].bytes.Load(); bytes != l.bytes {
				l.bytes, l.active = bytes, now
			}
			switch o := &r.options; {
			case l.over:
			case o.Longest > 0 && now.Sub(l.began) >= o.Longest:
				l.over, old = true, append(old, s)
			case o.Idle > 0 && now.Sub(l.active) >= o.Idle:
				if s.uploads() {
					l.active = now // the stall limit judges whoever does not take it
				} else {
					l.over, idle = true, append(idle, s)
				}
			}
		}
		maps.DeleteFunc(known, func(_ *Session, l *lived) bool { return l.turn != turn })
		r.over(idle, ReasonIdle, fmt.Sprintf("the client has sent nothing for %s (session.idle)", r.options.Idle))
		r.over(old, ReasonTooLong, fmt.Sprintf("a session may last %s (session.max_duration)", r.options.Longest))
	}
}

// uploads tells whether something of the client's waits for its worker, here or in the kernel.
func (s *Session) uploads() bool {
	return s.dirs[clientSide].blocked.Load() || s.legs[workerSide].waiting() > 0
}

func (r *Relay) over(sessions []*Session, reason, text string) {
	if len(sessions) > 0 {
		go r.judged(sessions, reason, func(s *Session) { s.closeWith(overCode, reason, text) })
	}
}
