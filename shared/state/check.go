package state

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// Check tells whether a session is assigned to this worker in this attempt and
// has not started. It reads only: a gate uses it to turn strangers away before
// it bothers its browser; what decides is Start.
func (s *Store) Check(ctx context.Context, session, worker string, attempt int) (bool, error) {
	text, err := s.client.Do(ctx, s.client.B().Get().Key(s.keys.Session(session)).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("redis: check: %w", err)
	}
	f := RecordFields(text)
	return f["state"] == string(Assigned) && f["worker"] == worker && f["attempt"] == itoa(attempt), nil
}
