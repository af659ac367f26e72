package app

import (
	"sync"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// running are the sessions of this proxy by their ids.
type running struct {
	mu       sync.Mutex
	sessions map[string]*relay.Session // nil for one that is about to begin
}

func (r *running) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions == nil {
		r.sessions = map[string]*relay.Session{}
	}
	r.sessions[id] = nil
}

// set completes what add began, unless the session has ended meanwhile.
func (r *running) set(id string, s *relay.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.sessions[id]; there {
		r.sessions[id] = s
	}
}

func (r *running) remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, id)
}

// ends lists all sessions as ended for a reason, with the bytes so far.
func (r *running) ends(reason string) []state.End {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]state.End, 0, len(r.sessions))
	for id, s := range r.sessions {
		e := state.End{Session: id, Reason: reason}
		if s != nil {
			e.BytesUp, e.BytesDown = s.Bytes()
		}
		all = append(all, e)
	}
	return all
}
