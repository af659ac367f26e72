package app

import (
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"
)

// places bounds the clients by the descriptors that they need: one for the
// client and one for its worker.
type places struct {
	limit int64
	taken atomic.Int64
	pipes int // that the relay may have open
	rooms int // directions that may wait for room with a descriptor of their own
}

const (
	// spared are descriptors that are no session's: for Redis, the admin port,
	// clients that are refused, and one in thirty-two for clients that have not
	// said yet what they want and for the relay's pipes and waits.
	spared      = 32
	sparedShare = 32
	perSession  = 2
	// Pipes, of two descriptors each, take a quarter of that share at most, and so do
	// directions that wait for a slow reader.
	pipeShare = 8 * sparedShare
	mostPipes = 64
	roomShare = 4 * sparedShare
	mostRooms = 1024
)

// newPlaces reads the limit, which the runtime has raised as far as the system
// lets it.
func newPlaces(log *zap.Logger) *places {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		log.Warn("the limit of open files is not known", zap.Error(err))
		return &places{limit: 1 << 31, pipes: mostPipes, rooms: mostRooms}
	}
	files := int64(min(l.Cur, 1<<31))
	p := &places{
		limit: max(1, (files-spared-files/sparedShare)/perSession),
		pipes: int(min(mostPipes, files/pipeShare)), rooms: int(min(mostRooms, files/roomShare)),
	}
	log.Info("limit of open files", zap.Int64("files", files), zap.Int64("sessions", p.limit))
	return p
}

// take is false when there is no place left.
func (p *places) take() bool {
	if p.taken.Add(1) <= p.limit {
		return true
	}
	p.leave()
	return false
}

func (p *places) leave() { p.taken.Add(-1) }
