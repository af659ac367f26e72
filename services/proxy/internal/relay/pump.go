package relay

import (
	"os"
	"sync/atomic"

	"github.com/playwright-distributed/playwright-distributed/shared/samehost"
	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// The states of a direction.
const (
	idle     int32 = iota
	running        // somebody pumps
	again          // and will look once more, because something happened
	stopping       // and will stop
	stopped
)

// dir is one direction of a session: what src sends goes to dst. At most one
// goroutine pumps it at a time; whoever comes meanwhile only leaves word.
type dir struct {
	session  *Session
	src, dst *leg

	state atomic.Int32
	// blocked: dst takes no more for now. waiting: somebody waits for room there.
	blocked, waiting atomic.Bool
	moved            atomic.Bool   // dst took something since the stall watch looked
	heard            atomic.Bool   // src sent something since the keeper looked
	ping             atomic.Bool   // dst is to be pinged
	bytes            atomic.Uint64 // that src sent behind the handshake
	messages         atomic.Uint64 // that have ended among them

	// Owned by the pump.
	frames   wsframe.Follower
	buffer   *[]byte  // of the relay's pool, while it is in use
	pipe     *pipe    // likewise
	pending  []byte   // was read and not written yet
	room     *os.File // waits
	parked   bool     // blocked when the pump stopped
	farewell bool     // src has sent a close frame
	goodbye  bool     // it was sent one of ours in the name of src
	discard  bool     // dst is gone: read to the end, so that src can finish
	ended    bool     // src has sent everything
	closed   bool     // and dst was told
	long     bool     // the frame before was long
	corked   bool     // the kernel keeps the end of what was written until more follows
	unpiped  bool     // the kernel would not move bytes by itself
	unpaced  bool     // dst was seen to
}

// run pumps until there is nothing to do, or leaves word for who pumps already.
func (d *dir) run() {
	for {
		switch d.state.Load() {
		case idle:
			if d.state.CompareAndSwap(idle, running) {
				d.drive()
				return
			}
		case running:
			if d.state.CompareAndSwap(running, again) {
				return
			}
		default:
			return
		}
	}
}

// drive is run for who has set the state to running.
func (d *dir) drive() {
	for {
		if d.pump() {
			// Others wait for this goroutine, which may be a loop.
			go d.drive()
			return
		}
		switch {
		case d.state.CompareAndSwap(running, idle):
			return
		case d.state.CompareAndSwap(again, running):
		default:
			d.state.Store(stopped)
			d.halt()
			return
		}
	}
}

// stop ends the direction as soon as nobody pumps it.
func (d *dir) stop() {
	for {
		switch now := d.state.Load(); now {
		case idle:
			if d.state.CompareAndSwap(idle, stopped) {
				d.halt()
				return
			}
		case running, again:
			if d.state.CompareAndSwap(now, stopping) {
				return
			}
		default:
			return
		}
	}
}

// resume runs when dst has room again, or is gone.
func (d *dir) resume() {
	if d.blocked.CompareAndSwap(true, false) {
		d.run()
	}
}

// pump moves what there is. It returns true when it stopped early, to let
// others have the goroutine.
func (d *dir) pump() (more bool) {
	if d.closed || d.blocked.Load() {
		return false
	}
	drained := false
	for reads := 0; d.state.Load() != stopping; {
		if !d.flush() {
			return false
		}
		due := false // something stands behind the frame that src is sending
		if !d.ended && d.src.side == workerSide && d.session.closing.Load() != nil {
			if d.injectClose() {
				continue
			}
			due = true
		}
		if d.ping.Load() {
			if d.injectPing() {
				continue
			}
			due = true
		}
		switch {
		case d.ended:
			d.release()
			d.passEnd()
			return false
		case drained:
			d.release()
			return false
		case reads == readsPerTurn:
			d.release()
			return true
		}
		reads++
		if d.pipes() {
			drained = d.pipeIn()
			continue
		}
		if d.buffer == nil {
			d.buffer = d.session.relay.buffers.Get().(*[]byte)
		}
		b := *d.buffer
		if d.long {
			// Another one comes, most likely: no more than its header is worth a copy.
			b, d.long = b[:headRoom], false
		}
		if due {
			b = d.toBoundary(b)
		}
		n, result := d.src.read(b)
		switch result {
		case later:
			drained = true
			if d.src.leaving.Load() {
				d.stays()
			}
		case never:
			d.end()
		case some:
			// A short read has emptied the socket; what comes later is a new
			// event, as long as there are events.
			drained = n < len(b) && !d.src.over.Load() && !d.src.leaving.Load()
			d.take(b[:n])
		}
	}
	return false
}

// toBoundary is as much of a buffer as the frame that src is sending fills. Where
// frames follow each other without a pause, a read that takes more ends within one
// of them nearly always.
func (d *dir) toBoundary(b []byte) []byte {
	n := d.frames.ToBoundary()
	if n == 0 || n >= uint64(len(b)) || d.discard || d.frames.CloseSeen() {
		return b // nothing can be put in, or not yet
	}
	return b[:n]
}

// stays is for a src that has more to send than an event said.
func (d *dir) stays() {
	d.src.leaving.Store(false)
	if d.corked {
		d.corked = false
		d.dst.push()
	}
}

// end notes that src has sent everything.
func (d *dir) end() {
	d.ended = true
	d.src.ended.Store(true)
	d.session.sideOver(d.src.side)
}

// take counts what was read and makes it pending.
func (d *dir) take(b []byte) {
	if !d.heard.Load() {
		d.heard.Store(true)
	}
	if d.src.unanswered.Load() > 0 && d.onlyPongs(b) {
		return
	}
	if d.discard {
		return
	}
	d.count(b)
	d.pending = b
}

func (d *dir) count(b []byte) {
	d.bytes.Add(uint64(len(b)))
	// An error means that this is not WebSocket; it is passed on all the same.
	_ = d.frames.Feed(b)
	d.countMessages()
	if !d.farewell && d.frames.CloseSeen() {
		d.farewell = true
		d.session.farewell.CompareAndSwap(0, 1+int32(d.src.side)) //nolint:gosec // 0 or 1
	}
}

// countMessages lets others read what only the pump may ask the follower. A write costs
// more than a look, and most of what is read ends no message or many.
func (d *dir) countMessages() {
	if n := d.frames.Messages(); n != d.messages.Load() {
		d.messages.Store(n)
	}
}

// flush writes what is pending; false when dst takes no more for now.
func (d *dir) flush() bool {
	for {
		var result outcome
		switch {
		case d.piped():
			result = d.pipe.to(d.dst)
		case len(d.pending) > 0:
			var n int
			more := !d.ended && d.src.leaving.Load()
			n, result = d.dst.write(d.pending, more)
			d.corked = more
			d.pending = d.pending[max(n, 0):]
		default:
			return true
		}
		switch result {
		case some:
			if d.parked {
				d.parked = false
				d.moved.Store(true)
			}
		case never:
			d.discard, d.pending = true, nil
			d.dropPipe()
		case later:
			d.park()
			return false
		}
	}
}

// park waits for room at dst.
func (d *dir) park() {
	d.unpace()
	d.parked = true
	d.blocked.Store(true)
	d.session.relay.stuck.add(d)
	if d.waiting.Swap(true) {
		return // who waits already has not looked yet
	}
	d.session.relay.rooms.wait(d)
}

// unpace is for a dst that gets much: the kernel does not send it in portions when it
// is on this machine.
func (d *dir) unpace() {
	if !d.unpaced {
		d.unpaced = true
		samehost.Unpace(d.dst.fd)
	}
}

// roomy runs when who waited for room at dst has found some, or that there will be none.
func (d *dir) roomy() {
	d.waiting.Store(false)
	d.resume()
}

// passEnd tells dst that nothing more comes: by FIN, which at the end of the
// second direction is that of closing the connection.
func (d *dir) passEnd() {
	d.closed = true
	if d.goodbye {
		// Nothing of the worker is wanted any more, and its slot may be somebody else's:
		// it need not wait until the client has closed as well.
		d.src.shutdownWrite()
	}
	d.session.dirOver(d.dst.shutdownWrite)
}

// injectClose puts a close frame between two frames of the worker, whose
// stream ends with it.
func (d *dir) injectClose() bool {
	if !d.frames.AtBoundary() || d.frames.CloseSeen() {
		return false
	}
	c := d.session.closing.Load()
	d.pending, d.ended, d.goodbye = wsframe.AppendClose(nil, c.code, c.text, false), true, true
	return true
}

// release gives the buffer back.
func (d *dir) release() {
	d.pending = nil
	if d.buffer != nil {
		d.session.relay.buffers.Put(d.buffer)
		d.buffer = nil
	}
	if d.piped() {
		d.dropPipe()
	} else if d.pipe != nil {
		d.session.relay.pipes.put(d.pipe)
		d.pipe = nil
	}
}

// halt is release at the end of the session.
func (d *dir) halt() {
	d.release()
	if d.room != nil {
		_ = d.room.Close()
	}
	if d.waiting.Load() {
		d.session.relay.rooms.forget(d)
	}
	d.session.stopped()
}
