package harness

import (
	"testing"
	"time"
)

// Patience is how long a condition may take that is expected to come soon: far
// above what it takes on a slow machine, because only failures wait for it.
const Patience = 30 * time.Second

const look = 10 * time.Millisecond

// Await returns when ok does, and fails the test with what was awaited when
// that takes longer than Patience.
func Await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	AwaitWithin(tb, Patience, what, ok)
}

// AwaitWithin is Await with a deadline of its own.
func AwaitWithin(tb testing.TB, limit time.Duration, what string, ok func() bool) {
	tb.Helper()
	if !holds(limit, ok) {
		tb.Fatalf("waited %s in vain until %s", limit, what)
	}
}

// Holds tells whether a condition comes true within a limit.
func Holds(limit time.Duration, ok func() bool) bool { return holds(limit, ok) }

func holds(limit time.Duration, ok func() bool) bool {
	if ok() {
		return true
	}
	end := time.After(limit)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if ok() {
				return true
			}
		case <-end:
			return ok()
		}
	}
}
