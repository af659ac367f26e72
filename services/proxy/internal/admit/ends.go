package admit

import (
	"context"
	"slices"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

type end struct {
	state.End
	at time.Time
}

// Ended reports an active session whose connection this proxy saw ending. Its
// worker says so too, and at once; this is for a worker that cannot.
func (a *Admitter) Ended(e state.End) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends = append(a.ends, end{e, time.Now()})
}

// takeEnds takes the ends that are old enough for their worker to have had its say.
func (a *Admitter) takeEnds(age time.Duration) []end {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	var due []end
	a.ends = slices.DeleteFunc(a.ends, func(e end) bool {
		if now.Sub(e.at) < age {
			return false
		}
		due = append(due, e)
		return true
	})
	return due
}

func (a *Admitter) putBack(ends []end) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends = append(a.ends, ends...)
}

// aged gives ends their ages as of now, when the call that tells them begins.
func aged(ends []end) []state.End {
	now := time.Now()
	list := make([]state.End, len(ends))
	for i, e := range ends {
		list[i] = e.End
		list[i].Ago = now.Sub(e.at)
	}
	return list
}

// endsBatch bounds the ends in one call, and with that how long it holds Redis.
const endsBatch = 200

// report ends sessions; those it could not are kept for later.
func (a *Admitter) report(ctx context.Context, ends []end) error {
	for len(ends) > 0 {
		n := min(endsBatch, len(ends))
		if err := a.store.Finish(ctx, state.SideProxy, a.o.Proxy, aged(ends[:n])...); err != nil {
			a.o.RedisError()
			a.putBack(ends)
			return err
		}
		ends = ends[n:]
	}
	return nil
}
