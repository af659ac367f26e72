package relay

import (
	"io"

	"github.com/lesismal/nbio"
)

// Blocked tells whether both directions wait for a slow reader.
func (s *Session) Blocked() bool { return s.dirs[0].blocked.Load() && s.dirs[1].blocked.Load() }

// BlockedFrom tells whether what a side (0 is the client) sends waits for a slow
// reader.
func (s *Session) BlockedFrom(from int) bool { return s.dirs[from].blocked.Load() }

// Drop makes the loop forget both connections, as it does by mistake.
func (s *Session) Drop() {
	for _, l := range s.legs {
		l.mu.Lock()
		c := l.watched
		l.mu.Unlock()
		_ = c.CloseWithError(io.EOF)
	}
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

// Looks is how often the keeper has looked at the session.
func (s *Session) Looks() uint32 { return s.looks.Load() }

// Ping has both sides pinged as soon as that can be.
func (s *Session) Ping() {
	for i := range s.dirs {
		s.dirs[i].ping.Store(true)
		s.dirs[i].run()
	}
}
