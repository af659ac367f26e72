package consume

import (
	"iter"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// Distinct leaves out events whose id is among the last window ids that it has
// seen. A fact can be recorded twice when a failover of Redis lost its first
// record. Errors pass through.
func Distinct(events iter.Seq2[event.Event, error], window int) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		seen := event.NewWindow(window)
		for e, err := range events {
			if e.ID != "" && !seen.Add(e.ID) {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
