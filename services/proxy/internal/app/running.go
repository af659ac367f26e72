package app

import (
	"sync"
	"unique"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// running are the sessions of this proxy by their ids.
type running struct {
	mu       sync.Mutex
	sessions map[string]served
}

type served struct {
	*relay.Session // nil while it is about to begin

	worker unique.Handle[string]
}

func (r *running) add(id, worker string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[string]served{}
	}
	r.sessions[id] = served{worker: unique.Make(worker)}
}

// set completes what add began, unless the session has ended meanwhile.
func (r *running) set(id string, s *relay.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one, there := r.sessions[id]; there {
		one.Session = s
		r.sessions[id] = one
	}
}

// each does something with all sessions of some workers.
func (r *running) each(workers []string, do func(*relay.Session)) {
	for _, s := range r.of(workers) {
		do(s)
	}
}

func (r *running) of(workers []string) (all []*relay.Session) {
	handles := make(map[unique.Handle[string]]bool, len(workers))
	for _, w := range workers {
		handles[unique.Make(w)] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		if s.Session != nil && handles[s.worker] {
			all = append(all, s.Session)
		}
	}
	return all
}

func (r *running) remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, id)
}

// ends lists all sessions as ended for a reason, with what went through so far.
func (r *running) ends(reason string) []state.End {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]state.End, 0, len(r.sessions))
	for id, s := range r.sessions {
		all = append(all, s.end(id, reason))
	}
	return all
}

// endsOf is ends of some sessions.
func (r *running) endsOf(sessions []*relay.Session, reason string) []state.End {
	some := make(map[*relay.Session]bool, len(sessions))
	for _, s := range sessions {
		some[s] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]state.End, 0, len(sessions))
	for id, s := range r.sessions {
		if s.Session != nil && some[s.Session] {
			all = append(all, s.end(id, reason))
		}
	}
	return all
}

func (s served) end(id, reason string) state.End {
	e := state.End{Session: id, Reason: reason}
	if s.Session != nil {
		e.Counts = state.Counts(s.Session.Counts())
	}
	return e
}
