package relay

import (
	"io"
	"os"
	"time"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// Blocked tells whether both directions wait for a slow reader.
func (s *Session) Blocked() bool { return s.dirs[0].blocked.Load() && s.dirs[1].blocked.Load() }

// BlockedFrom tells whether what a side (0 is the client) sends waits for a slow
// reader.
func (s *Session) BlockedFrom(from int) bool { return s.dirs[from].blocked.Load() }

// AtRest tells whether nobody pumps what a side sends.
func (s *Session) AtRest(from int) bool { return s.dirs[from].state.Load() == idle }

// QueuedFor is how many bytes are in the kernel on their way to the reader of
// what a side sends.
func (s *Session) QueuedFor(from int) int64 { return s.legs[1-from].queued() }

// MovedFrom tells whether something went on that had waited for a slow reader.
func (s *Session) MovedFrom(from int) bool { return s.dirs[from].moved.Load() }

// Owes tells whether a side has been pinged and not been heard since.
func (s *Session) Owes(side int) bool { return s.legs[side].unanswered.Load() > 0 }

// HoldStallWatch leaves the stall watch to Stalled. It must come first.
func (r *Relay) HoldStallWatch() { r.stuck.watching = true }

// Stalled is how many directions the stall watch would end if it were now then.
func (r *Relay) Stalled(then time.Time) int {
	stalled, _ := r.stuck.look(then, r.options.Stall)
	r.stuck.mu.Lock()
	r.stuck.watching = true
	r.stuck.mu.Unlock()
	return len(stalled)
}

// Drop makes the loop forget both connections, as it does by mistake.
func (s *Session) Drop() {
	for _, l := range s.legs {
		l.mu.Lock()
		c := l.watched
		l.mu.Unlock()
		_ = c.CloseWithError(io.EOF)
	}
}

// Drop makes the loop forget a connection that has no session yet.
func (k *Link) Drop() {
	k.leg().mu.Lock()
	c := k.leg().watched
	k.leg().mu.Unlock()
	_ = c.CloseWithError(io.EOF)
}

// Watching returns what the loop watches now.
func (s *Session) Watching() [2]*nbio.Conn {
	var all [2]*nbio.Conn
	for i, l := range s.legs {
		l.mu.Lock()
		all[i] = l.watched
		l.mu.Unlock()
	}
	return all
}

// LooksDuring is how often the keeper looks at the session in so long a time, if
// nothing delays it.
func (s *Session) LooksDuring(d time.Duration) uint32 { return uint32(d / s.relay.options.look()) }

// Hold keeps a client's session from beginning until it is released.
func (c *Client) Hold() (release func()) {
	c.waits.Lock()
	return c.waits.Unlock
}

// Looks is how often the keeper has looked at all the sessions together.
func (r *Relay) Looks() (n uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.list() {
		n += s.Looks()
	}
	return n
}

// Looks is how often the keeper has looked at the session.
func (s *Session) Looks() uint32 { return s.looks.Load() }

// Ping has both sides pinged as soon as that can be.
func (s *Session) Ping() {
	for i := range s.dirs {
		s.dirs[i].ping.Store(true)
		s.dirs[i].run()
	}
}

// HasTimer tells whether the session has one of its own.
func (s *Session) HasTimer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.linger != nil
}

// Watching returns what the loop watches now.
func (c *Client) Watching() *nbio.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watched
}

// Pipes is how many pipes are open.
func (r *Relay) Pipes() int {
	r.pipes.mu.Lock()
	defer r.pipes.mu.Unlock()
	return r.pipes.count
}

// LongFrame is from how many bytes on a frame goes through a pipe.
const LongFrame = longFrame

// ParkIn is Park with another folder in the place of /proc/self.
func ParkIn(r *Relay, proc string) error { return r.parkIn(proc) }

// Watching is the epoll instance that watches a descriptor.
func Watching(proc string, fd int) (*os.File, error) { return watching(proc, fd) }

// MaxEvents sets how many events a loop asks for at once, for engines to come, and
// returns what undoes that.
func MaxEvents(n int) (undo func()) {
	before := maxEvents
	maxEvents = n
	return func() { maxEvents = before }
}

// Known is how many connections the relay's loops know.
func (r *Relay) Known() int {
	n := 0
	for i := range r.conns {
		if r.conns[i].Load() != nil {
			n++
		}
	}
	return n
}

// Leaving has the relay believe that the worker's end is there to be read.
func (s *Session) Leaving() { s.worker.leaving.Store(true) }

// Stays tells whether the relay has found out that it is not.
func (s *Session) Stays() bool {
	return !s.worker.leaving.Load() && s.dirs[workerSide].state.Load() == idle
}

// Unsent is how many bytes the kernel keeps from the client.
func (s *Session) Unsent() int {
	n, _ := unix.IoctlGetInt(s.legs[clientSide].fd, unix.SIOCOUTQNSD)
	return n
}

// Done tells whether the session has begun to stop.
func (s *Session) Done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// Limiting tells whether somebody looks for sessions that come to a limit.
func (r *Relay) Limiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limiting
}

// PingUnblocked has the reader of what a side sends pinged in the moment in which the direction
// is not blocked any more and nobody has gone on with it.
func (s *Session) PingUnblocked(from int) {
	d := &s.dirs[from]
	d.blocked.Store(false)
	d.sendPing()
	d.run()
}

// Roomless is how many directions wait for room without a descriptor.
func (r *Relay) Roomless() int {
	r.rooms.mu.Lock()
	defer r.rooms.mu.Unlock()
	return len(r.rooms.waiting)
}

// Paces is the congestion control of a side's connection.
func (s *Session) Paces(side int) (string, error) {
	return unix.GetsockoptString(s.legs[side].fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
}

// Pace sets the congestion control of a side's connection.
func (s *Session) Pace(side int, name string) error {
	return unix.SetsockoptString(s.legs[side].fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
}
