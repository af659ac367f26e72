package relay

// judged ends sessions for a reason that nobody else can know: a worker sees its
// connection closed, as when the client has left. So it is told first.
func (r *Relay) judged(sessions []*Session, reason string, end func(*Session)) {
	if r.options.Foretell != nil {
		var mine []*Session
		for _, s := range sessions {
			if s.settle(reason) {
				mine = append(mine, s)
			}
		}
		if len(mine) > 0 {
			r.options.Foretell(mine, reason)
		}
	}
	for _, s := range sessions {
		end(s)
	}
}

// cut ends sessions at once.
func (r *Relay) cut(sessions []*Session, reason string) {
	r.judged(sessions, reason, func(s *Session) { s.abort(reason) })
}

// settle fixes the reason of a session's end, and returns false when it has one already.
func (s *Session) settle(reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.reason != "" {
		return false
	}
	s.reason = reason
	return true
}
