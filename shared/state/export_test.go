package state

import (
	"context"
	"time"
)

// JoinOnce makes one call of Join, which may have to be made again (more).
func (s *Store) JoinOnce(ctx context.Context, r JoinRequest) (reply JoinReply, more bool, err error) {
	return s.join(ctx, r)
}

// Scripts are the names of all scripts.
var Scripts = scriptNames

// Library is the name of the functions' library in Redis.
func (s *Store) Library() string { return s.library.name }

// AcquireCalls is how many calls for slots are under way at most.
const AcquireCalls = acquireCalls

// Gathered is how many requests for slots wait, and how many calls are under way.
func (s *Store) Gathered() int {
	s.gathering.mu.Lock()
	defer s.gathering.mu.Unlock()
	return s.gathering.calls + len(s.gathering.waiting)
}

// Unsent is how many of them wait.
func (s *Store) Unsent() int {
	s.gathering.mu.Lock()
	defer s.gathering.mu.Unlock()
	return len(s.gathering.waiting)
}

// SetPatience sets how long requests for slots wait for others, from the next one on.
func (s *Store) SetPatience(d time.Duration) {
	s.gathering.mu.Lock()
	defer s.gathering.mu.Unlock()
	s.gathering.patience = d
}

// Hurry sends what waits.
func (s *Store) Hurry() { s.acquireAll() }
