package faulttable_test

import (
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
)

// fullRow has Redis answer, and refuse every write.
var fullRow = &row{
	name: "RedisFull", limits: map[faulttable.Column]time.Duration{noticed: redisLimit},
	Row:  faulttable.Row{Fault: "Redis has no memory left (`maxmemory`) for 20 s: it answers, and refuses writes"},
	cast: one,
	play: func(s *scene) {
		memory := func(limit string) func(*scene) {
			return func(s *scene) {
				c := s.pool.Redis.Client
				s.must(c.Do(s.Context(), c.B().Arbitrary("CONFIG", "SET", "maxmemory", limit).Build()).Error())
			}
		}
		s.outage(memory("1"), memory("0"), "raise maxmemory", "`redis_unavailable`, with what to do")
	},
}
