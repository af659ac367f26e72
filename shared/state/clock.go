package state

import (
	"strconv"
	"sync"
	"time"
)

// clock knows what time it is for Redis, as well as the replies to joins and
// heartbeats tell, one of which is the first that a process hears.
// Redis' own time judges all leases; this is only for what is sent and may be
// read much later.
type clock struct {
	mu    sync.Mutex
	at    time.Time // here
	redis int64     // ms since 1970 there
}

// soon is within what time a reply must have come to tell the time well. The
// first may take longer.
const soon = 200 * time.Millisecond

// heard takes Redis' time from a reply to a call that was sent at a time here.
func (c *clock) heard(sent time.Time, redis string) {
	ms, err := strconv.ParseInt(redis, 10, 64)
	if err != nil {
		return
	}
	took := time.Since(sent)
	c.mu.Lock()
	defer c.mu.Unlock()
	if took < soon || c.redis == 0 {
		c.at, c.redis = sent.Add(took/2), ms
	}
}

// now is the time of Redis in ms since 1970, 0 while nobody knows.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.redis == 0 {
		return 0
	}
	return c.redis + time.Since(c.at).Milliseconds()
}
