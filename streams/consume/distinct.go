package consume

import (
	"iter"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// Distinct leaves out events whose id is among the last window ids that it has
// seen, counting ends of sessions and all else apart. A fact can be recorded twice
// when a failover of Redis lost its first record. What a new log announces again
// after its pool.reset is not left out, but for ends. Errors pass through.
func Distinct(events iter.Seq2[event.Event, error], window int) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		seen := newOnce(window)
		for e, err := range events {
			if e.ID != "" {
				if seen.has(e) {
					continue
				}
				if e.Type == event.PoolReset {
					seen.newLog()
				}
				seen.add(e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
