package relay

import (
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// A worker that answers no ping is no client's fault, and another one is there.
const (
	goneCode = 1001 // going away
	goneText = "the worker of this session has stopped answering: connect again"
)

// Doubt tells that a session's worker may be gone, by what the pool says. It is
// asked by a ping, unless it says something at once, and given up when Dead
// passes without any word from it. One that answers is asked again whenever it has been silent between two
// looks, until Trust. Without pings nobody is asked.
func (s *Session) Doubt() {
	r := s.relay
	if r.options.Ping <= 0 {
		return
	}
	s.doubted.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keeping {
		r.wheel.doubts = append(r.wheel.doubts, s)
	}
}

// Trust takes Doubt back. A ping that is out still has to be answered.
func (s *Session) Trust() { s.doubted.Store(false) }

// asked has the sessions whose workers have been asked and not been heard
// since. It is the keeper's, who looks at all of them at each tick: so a worker
// is given up when its time is over, and not a look later.
type asked map[*Session]*question

type question struct {
	listens bool      // for what the worker says by itself
	since   time.Time // when the ping went out, or last got nearer to the worker
	// before is how many bytes are in front of the ping, taken how many of all
	// bytes the worker's kernel had acknowledged.
	before, taken int64
}

// turn looks at a session whose turn on the wheel it is.
func (q asked) turn(s *Session) {
	_, waits := q[s]
	switch heard := s.look(waits); {
	case heard:
		delete(q, s)
	case !waits && s.doubted.Load():
		q[s] = &question{}
	}
}

// tick asks who is in doubt, and judges who has been asked.
func (q asked) tick(doubts []*Session, now time.Time) {
	for _, s := range doubts {
		if q[s] == nil {
			q[s] = &question{}
		}
	}
	for s, asked := range q {
		if s.judge(asked, now) {
			delete(q, s)
		}
	}
}

// judge asks a session's worker, or sees whether it has answered. It returns
// true when there is nothing more to wait for.
func (s *Session) judge(q *question, now time.Time) bool {
	if s.ending() {
		return true
	}
	w, from, to := s.legs[workerSide], &s.dirs[workerSide], &s.dirs[clientSide]
	if !q.listens {
		// What was said before may have been before it was gone. What it says
		// until the next tick spares the ping: most sessions that go on do.
		q.listens = true
		if from.heard.Swap(false) {
			s.keep[workerSide].silent, s.keep[workerSide].stuck = 0, 0
		}
		return false
	}
	if from.heard.Load() {
		return true
	}
	if q.since.IsZero() {
		to.sendPing()
		q.since, q.before = now, to.sent()
		q.taken = q.before - w.waiting()
		return false
	}
	sent := to.sent()
	taken := sent - w.waiting()
	switch {
	case from.blocked.Load():
		q.since = now // its answer may be behind what the client does not read
	case to.ping.Load() && !to.blocked.Load():
		q.since, q.before = now, sent // the client is within a frame
	case to.ping.Load():
		q.before = sent
		fallthrough
	default:
		if q.taken < q.before && taken != q.taken {
			q.since = now // what is before the ping goes on
		}
	}
	q.taken = taken
	if now.Sub(q.since) < s.relay.options.Dead {
		return false
	}
	s.closeWith(goneCode, ReasonLost, goneText)
	return true
}

func (d *dir) sent() int64 { return int64(d.bytes.Load()) } //nolint:gosec // nobody sends so much

// waiting is how many bytes are on their way to a peer beside the pings that it
// has not answered.
func (l *leg) waiting() int64 {
	pings := max(0, l.unanswered.Load())
	return max(0, l.queued()-int64(pings)*int64(wsframe.PingSize(len(pingText), l.side == workerSide)))
}
