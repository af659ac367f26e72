package relay

import (
	"sync/atomic"

	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

const (
	idle int32 = iota
	running
	again
)

// dir is one direction of a session: what src sends goes to dst. At most one
// goroutine pumps it at a time; whoever comes meanwhile only leaves word.
type dir struct {
	session  *Session
	src, dst *leg

	state atomic.Int32
	// blocked: dst has too much to take; its progress down to resumeAt wakes
	// the pump.
	blocked  atomic.Bool
	resumeAt atomic.Int64
	moved    atomic.Bool // dst took something since the stall watch looked

	// Owned by the pump.
	frames  wsframe.Follower
	opaque  bool // the stream is not WebSocket; it is passed on all the same
	discard bool // dst is gone: read to the end, so that src can finish
	ended   bool // src has sent everything
	closed  bool // the end was passed on to dst

	// Published by the pump for everybody else.
	bytes, messages atomic.Uint64
	sawClose        atomic.Bool
	over            atomic.Bool
}

// run pumps until there is nothing to do. It returns false at once when
// somebody else is pumping; that one will look again.
func (d *dir) run() bool {
	for {
		if d.state.CompareAndSwap(idle, running) {
			break
		}
		if d.state.CompareAndSwap(running, again) || d.state.Load() == again {
			return false
		}
	}
	for {
		if more := d.pump(); more {
			d.state.Store(idle)
			go d.run()
			return true
		}
		if d.state.CompareAndSwap(running, idle) {
			return true
		}
		d.state.Store(running)
	}
}

// pump moves what there is. It returns true when it stopped early to let
// others have the poller.
func (d *dir) pump() (more bool) {
	if d.closed {
		return false
	}
	pool := &d.session.relay.buffers
	var p *[]byte
	defer func() {
		if p != nil {
			pool.Put(p)
		}
	}()
	for reads := 0; ; reads++ {
		if d.dst.closed.Load() {
			d.discard = true
		}
		if d.ended {
			d.passEnd()
			return false
		}
		if d.session.closing.Load() != nil && d.src.side == workerSide && d.injectClose() {
			d.passEnd()
			return false
		}
		if !d.discard && d.dst.unsent.Load() >= highMark && d.block(lowMark) {
			d.src.guard()
			return false
		}
		if reads == readsPerTurn {
			// The other bytes of this connection wait in the kernel, and no new
			// event will tell of them.
			d.src.guard()
			return true
		}
		if p == nil {
			p = pool.Get().(*[]byte)
		}
		n, result := d.src.read(*p)
		switch result {
		case readDrained:
			return false
		case readEOF:
			d.ended = true
		case readData:
			d.forward((*p)[:n])
			if n < len(*p) && d.src.tail.Load() == 0 && d.session.closing.Load() == nil {
				// A short read has emptied the socket; what comes later is a
				// new event.
				return false
			}
		}
	}
}

func (d *dir) forward(b []byte) {
	if d.discard {
		return
	}
	d.count(b)
	if err := d.dst.write(b); err != nil {
		d.discard = true
	}
}

func (d *dir) count(b []byte) {
	d.bytes.Add(uint64(len(b)))
	if d.opaque {
		return
	}
	if err := d.frames.Feed(b); err != nil {
		d.opaque = true
		return
	}
	d.messages.Store(d.frames.Messages())
	if d.frames.CloseSeen() {
		d.sawClose.Store(true)
	}
}

// block stops the pump until dst has taken all but mark bytes. It returns
// false when dst has done so already.
func (d *dir) block(mark int64) bool {
	d.resumeAt.Store(mark)
	d.blocked.Store(true)
	d.session.relay.stuck.add(d)
	if d.dst.unsent.Load() > mark && !d.dst.closed.Load() {
		return true
	}
	// written or legClosed may have seen the flag meanwhile; then they run the
	// pump once more, which is harmless.
	d.blocked.Store(false)
	return false
}

// passEnd tells dst that nothing more comes, once it has taken everything.
func (d *dir) passEnd() {
	if !d.discard && d.dst.unsent.Load() > 0 && d.block(0) {
		return
	}
	d.closed = true
	d.over.Store(true)
	if !d.dst.closed.Load() {
		d.dst.shutdownWrite()
	}
	d.session.dirOver(d)
}

// injectClose puts a close frame between two frames of the worker.
func (d *dir) injectClose() bool {
	if d.opaque || !d.frames.AtBoundary() || d.frames.CloseSeen() {
		return false
	}
	c := d.session.closing.Load()
	_ = d.dst.write(wsframe.AppendClose(nil, c.code, c.text, false))
	d.ended = true
	return true
}
