package event

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// WorkerState is the state of a worker that is in the pool.
type WorkerState string

// The states of a worker.
const (
	Ready     WorkerState = "ready"
	Suspect   WorkerState = "suspect"
	Unhealthy WorkerState = "unhealthy"
	Retiring  WorkerState = "retiring"
)

// SessionState is the state of a session that has not ended.
type SessionState string

// The states of a session. Assigned and active sessions hold a slot.
const (
	Queued   SessionState = "queued"
	Assigned SessionState = "assigned"
	Active   SessionState = "active"
)

// memory bounds what a State remembers of the past to tell repetitions.
const memory = 1 << 16

// State is the state of a pool as its events tell it. The zero value is the state
// before the first event. It can also be set from a snapshot, and then take the
// events that follow the snapshot's Position; what it remembers of repeated
// events is not part of the snapshot. It is not safe for concurrent use.
type State struct {
	Pool     string
	Epoch    string
	Position string    // stream id of the last event
	At       time.Time // when that was recorded
	Workers  map[string]WorkerInfo
	Sessions map[string]SessionInfo // those that have not ended

	seen  *Window // event ids
	ended *Window // session ids
}

// WorkerInfo is a worker of the pool. Of a worker that joined before the first
// event, only what later events tell is known.
type WorkerInfo struct {
	Worker
	Since time.Time // when it came into its state
}

// SessionInfo is a session that has not ended.
type SessionInfo struct {
	Session
	State SessionState
	Since time.Time // when it came into its state
}

// Apply takes the next event into account and tells whether it was news. Events
// must come in the order of the log. An event that was applied before, a start
// or assignment of a session that has ended, and a type that is not known
// change nothing but Position.
func (s *State) Apply(e Event) bool {
	s.Pool, s.At = e.Pool, e.At
	if e.StreamID != "" {
		s.Position = e.StreamID
	}
	if s.seen == nil {
		s.seen, s.ended = NewWindow(memory), NewWindow(memory)
	}
	if !s.seen.Add(e.ID) {
		return false
	}
	if s.Workers == nil {
		s.Workers = map[string]WorkerInfo{}
	}
	if s.Sessions == nil {
		s.Sessions = map[string]SessionInfo{}
	}
	switch {
	case e.Epoch != nil:
		return s.applyPool(&e)
	case e.Worker != nil:
		return s.applyWorker(&e)
	case e.Session != nil:
		return s.applySession(&e)
	}
	return false
}

func (s *State) applyPool(e *Event) bool {
	switch e.Type {
	case PoolReset:
		s.Workers, s.Sessions = map[string]WorkerInfo{}, map[string]SessionInfo{}
		s.seen, s.ended = NewWindow(memory), NewWindow(memory)
		s.seen.Add(e.ID)
	case PoolResumed:
	default:
		return false
	}
	s.Epoch = e.Epoch.ID
	return true
}

func (s *State) applyWorker(e *Event) bool {
	w := *e.Worker
	if e.Type == WorkerLeft || e.Type == WorkerLost {
		delete(s.Workers, w.ID)
		return true
	}
	info := s.Workers[w.ID].Worker
	switch e.Type {
	case WorkerJoined:
		info = w
		if info.State == "" {
			info.State = Ready
		}
	case WorkerReady:
		info.State = Ready
	case WorkerSuspect:
		info.State = Suspect
	case WorkerUnhealthy:
		info.State = Unhealthy
	case WorkerRetiring:
		info.State = Retiring
	default:
		return false
	}
	info.ID, info.Browser, info.BrowserVersion, info.Playwright = w.ID, w.Browser, w.BrowserVersion, w.Playwright
	info.Reason, info.Number = w.Reason, w.Number
	s.Workers[w.ID] = WorkerInfo{Worker: info, Since: e.Time()}
	return true
}

func (s *State) applySession(e *Event) bool {
	n := *e.Session
	if e.Type == SessionEnded || e.Type == SessionRejected {
		delete(s.Sessions, n.ID)
		return s.ended.Add(n.ID)
	}
	if s.ended.Has(n.ID) {
		return false
	}
	info := SessionInfo{Session: n, Since: e.Time()}
	switch e.Type {
	case SessionQueued:
		info.State = Queued
	case SessionAssigned:
		info.State = Assigned
	case SessionStarted:
		info.State = Active
	default:
		return false
	}
	// What only some types carry is kept from the earlier events.
	if old, ok := s.Sessions[n.ID]; ok {
		if e.Type != SessionQueued {
			info.Class, info.Seq = old.Class, old.Seq
		}
		if e.Type == SessionStarted {
			info.Queued = old.Queued
		}
	}
	info.Started = e.Type == SessionStarted
	s.Sessions[n.ID] = info
	return true
}

// Held lists the sessions that hold a slot of a worker, sorted. They can outlast
// the worker: an active session stays until its own end is recorded.
func (s *State) Held(worker string) []string {
	var ids []string
	for id, n := range s.Sessions {
		if n.Worker == worker && (n.State == Assigned || n.State == Active) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Loads counts the slots that are held of each worker; a worker that has none,
// and is in the pool, stands there with 0.
func (s *State) Loads() map[string]int {
	loads := make(map[string]int, len(s.Workers))
	for id := range s.Workers {
		loads[id] = 0
	}
	for _, n := range s.Sessions {
		if n.State == Assigned || n.State == Active {
			loads[n.Worker]++
		}
	}
	return loads
}

// Waiting lists the queued sessions in the order of the queue.
func (s *State) Waiting() []string {
	var ids []string
	for id, n := range s.Sessions {
		if n.State == Queued {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Sessions[a].Seq, s.Sessions[b].Seq), cmp.Compare(a, b))
	})
	return ids
}

// Clone returns a snapshot: a copy that takes no part in what is applied to s later
// and remembers nothing of the past.
func (s *State) Clone() State {
	c := *s
	c.Workers, c.Sessions = maps.Clone(s.Workers), maps.Clone(s.Sessions)
	c.seen, c.ended = nil, nil
	return c
}
