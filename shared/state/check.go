package state

import (
	"context"
	"fmt"
)

// Check tells whether a session is assigned to this worker in this attempt and
// has not started. It reads only: a gate uses it to turn strangers away before
// it bothers its browser; what decides is Start.
func (s *Store) Check(ctx context.Context, session, worker string, attempt int) (bool, error) {
	got, err := s.client.Do(ctx, s.client.B().Hmget().Key(s.keys.Session(session)).Field("state", "worker", "attempt").Build()).ToArray()
	if err != nil {
		return false, fmt.Errorf("redis: check: %w", err)
	}
	want := []string{string(Assigned), worker, itoa(attempt)}
	if len(got) != len(want) {
		return false, fmt.Errorf("redis: check: reply of %d fields", len(got))
	}
	for i := range want {
		// A field that is not there is an error here and no match.
		text, missing := got[i].ToString()
		if missing != nil || text != want[i] {
			return false, nil //nolint:nilerr // no match is an answer
		}
	}
	return true, nil
}
