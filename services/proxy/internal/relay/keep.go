package relay

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/nowait"
	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// pingText tells the answers to the relay's pings from those to a peer's own.
var pingText = []byte("pwdist")

// clientPing is the same for all clients, as only clients mask. Nobody writes
// into what is pending.
var clientPing = wsframe.AppendPing(nil, pingText, false)

// looksPerPing: a session is looked at so often in a ping interval. A side that
// has said nothing between two looks is pinged, so that it is never silent for
// longer than the interval; and its answer makes the next look pass it by.
const looksPerPing = 2

// workerTurns: a worker is pinged at every so many of a session's looks only.
// The balancers that cut what is idle stand before the proxy. A worker that is
// frozen or gone is missed by the pool, and then asked at once (doubt.go); what
// is left for a ping to find can wait.
const workerTurns = 4 * looksPerPing

// spokes is into how many parts the time between two looks is cut, so that the
// pings of many sessions do not all go out together. They are few, because a
// process that is woken often costs more than one that does much at once.
const spokes = 8

// wheel has the sessions in parts of equal size. One of them is looked at when
// the keeper's ticker ticks, so that each session has its turn as often and none
// has a timer.
type wheel struct {
	spokes [spokes]map[*Session]struct{}
	len    int
	next   int        // that gets a session
	turn   int        // that is looked at
	doubts []*Session // whose workers are to be asked
}

func (w *wheel) add(s *Session) {
	s.spoke = w.next
	w.next = (w.next + 1) % spokes
	if w.spokes[s.spoke] == nil {
		w.spokes[s.spoke] = map[*Session]struct{}{}
	}
	w.spokes[s.spoke][s] = struct{}{}
	w.len++
}

func (w *wheel) remove(s *Session) {
	if _, there := w.spokes[s.spoke][s]; there {
		delete(w.spokes[s.spoke], s)
		w.len--
	}
}

// keepAlive looks at all sessions in turn for as long as there are any.
func (r *Relay) keepAlive() {
	tick := time.NewTicker(max(r.options.look()/spokes, time.Millisecond))
	defer tick.Stop()
	var now []*Session
	waiting := asked{}
	for at := range tick.C {
		r.mu.Lock()
		doubts := r.wheel.doubts
		r.wheel.doubts = nil
		if r.wheel.len == 0 {
			r.keeping = false
			r.mu.Unlock()
			return
		}
		r.wheel.turn = (r.wheel.turn + 1) % spokes
		now = now[:0]
		for s := range r.wheel.spokes[r.wheel.turn] {
			now = append(now, s)
		}
		r.mu.Unlock()
		for _, s := range now {
			waiting.turn(s)
		}
		clear(now)
		waiting.tick(doubts, at)
	}
}

// keep is what the keeper knows of a session's sides from when it looked last.
type keep [2]struct {
	bytes  uint64 // that came from the side
	taken  int64  // bytes that its kernel had acknowledged
	silent uint16 // looks in a row that found it owing an answer
	stuck  uint16 // looks in a row that found the same bytes undelivered
}

// ending tells whether what is left of the session is the linger time's.
func (s *Session) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done || s.over > 0
}

// look pings the sides that say nothing, and ends the session when one of them
// is gone. A worker that has been asked is not its business. It returns whether
// the worker has said anything since the last look.
func (s *Session) look(asked bool) (worker bool) {
	if s.ending() {
		return false
	}
	look := s.looks.Add(1)
	for side, l := range s.legs {
		from, to, k := &s.dirs[side], &s.dirs[1-side], &s.keep[side]
		if said := from.bytes.Load(); said != k.bytes {
			k.bytes = said
			l.unanswered.Store(0) // an answer among the bytes was not seen
		}
		heard := from.heard.Swap(false)
		worker = heard
		if l.side == workerSide && asked && !heard {
			continue
		}
		if heard || from.blocked.Load() || to.blocked.Load() {
			// It lives; or nobody reads what it says; or the stall limit judges.
			k.silent, k.stuck = 0, 0
		} else if s.gone(l, side) {
			return false
		}
		// The first look may come right after the start.
		if !heard && look > 1 && (l.side == clientSide || look%workerTurns == 0) {
			to.sendPing()
		}
	}
	return worker
}

// gone judges a side that was not heard since the last look.
func (s *Session) gone(l *leg, side int) bool {
	k, o := &s.keep[side], &s.relay.options
	pings := l.unanswered.Load()
	if pings <= 0 {
		return false
	}
	if queued := l.waiting(); queued > 0 {
		// More than our pings is on its way to it.
		taken := s.dirs[1-side].sent() - queued
		if k.stuck++; taken != k.taken {
			k.stuck = 0
		}
		k.taken, k.silent = taken, 0
		if time.Duration(k.stuck)*o.look() < o.Stall {
			return false
		}
		k.stuck = 0 // judged once
		go s.relay.cut([]*Session{s}, ReasonStalled)
		return true
	}
	k.stuck = 0
	if k.silent++; time.Duration(k.silent)*o.look() < o.Dead {
		return false
	}
	if l.side == clientSide {
		s.abort(ReasonClient)
	} else {
		s.closeWith(goneCode, ReasonLost, goneText)
	}
	return true
}

// queued is how many bytes the peer's kernel has not acknowledged.
func (l *leg) queued() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0
	}
	n, _ := unix.IoctlGetInt(l.fd, unix.TIOCOUTQ)
	return int64(n)
}

// undelivered is queued for a peer that may still take it: where it has reset the
// connection, the kernel counts on.
func (l *leg) undelivered() int64 {
	n := l.queued()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n == 0 || l.closed || nowait.Poll(l.fd, 0) {
		return 0
	}
	return n
}

// sendPing pings dst between two frames of src, at once if nobody pumps and it
// can be. There is no need to read for it, which is half of what a pump does.
func (d *dir) sendPing() {
	d.ping.Store(true)
	if !d.state.CompareAndSwap(idle, running) {
		d.run()
		return
	}
	// Bytes may wait although nobody is blocked any more: who was told of room has not run yet.
	if !d.closed && !d.blocked.Load() && d.flush() && d.injectPing() {
		d.flush()
	}
	if !d.state.CompareAndSwap(running, idle) {
		d.drive() // something happened meanwhile
	}
}

// injectPing puts a ping between two frames of the other side.
func (d *dir) injectPing() bool {
	if d.ended || d.discard || !d.frames.AtBoundary() || d.frames.CloseSeen() {
		return false
	}
	d.ping.Store(false)
	d.dst.unanswered.Add(1)
	if d.dst.side == clientSide {
		d.pending = clientPing
	} else {
		d.pending = wsframe.AppendPing(nil, pingText, true)
	}
	return true
}

// onlyPongs takes answers to our pings, if they are all that b holds. They go no
// further then: the other side did not ask. An answer that comes together with
// other bytes does, and does no harm: a pong that nobody has asked for is
// allowed (RFC 6455, section 5.5.3), and taking it out would mean a copy.
func (d *dir) onlyPongs(b []byte) bool {
	masked := d.src.side == clientSide
	size := wsframe.PingSize(len(pingText), masked)
	if len(b)%size != 0 || !d.frames.AtBoundary() {
		return false
	}
	for rest := b; len(rest) > 0; rest = rest[size:] {
		if payload, ok := wsframe.OnlyPong(rest[:size], masked); !ok || !bytes.Equal(payload, pingText) {
			return false
		}
	}
	d.src.answered(int32(len(b) / size)) //nolint:gosec // few
	return true
}

// answered takes back so many pings. More answers than that are none in advance, or
// their sender could fall silent for as many pings.
func (l *leg) answered(n int32) {
	for {
		owed := l.unanswered.Load()
		if l.unanswered.CompareAndSwap(owed, max(0, owed-n)) {
			return
		}
	}
}
