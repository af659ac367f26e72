package relay

// cut ends sessions for a reason that nobody else can know: a worker sees its
// connection closed, as when the client has left. So it is told first.
func (r *Relay) cut(sessions []*Session, reason string) {
	if r.options.Foretell != nil {
		var judged []*Session
		for _, s := range sessions {
			if s.settle(reason) {
				judged = append(judged, s)
			}
		}
		if len(judged) > 0 {
			r.options.Foretell(judged, reason)
		}
	}
	for _, s := range sessions {
		s.abort(reason)
	}
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
