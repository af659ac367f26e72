package state

import "context"

// JoinOnce makes one call of Join, which may have to be made again (more).
func (s *Store) JoinOnce(ctx context.Context, r JoinRequest) (reply JoinReply, more bool, err error) {
	return s.join(ctx, r)
}
