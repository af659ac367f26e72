package admit

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// withWait adds to the refusal of a client that has waited for how long it did, and
// what its place was: whether to come back, and to which pool, depends on it.
func (t *Ticket) withWait(err error) error {
	no, ok := errors.AsType[refusal.Refusal](err)
	if !ok || !t.tellsWait(no.Code) {
		return err
	}
	no.Detail = strings.TrimSpace(no.Detail + " " + t.waited())
	return no
}

// tellsWait tells whether waiting is a part of what happened. Who was never queued has
// waited only for its time to be over.
func (t *Ticket) tellsWait(c refusal.Code) bool {
	switch c { //nolint:exhaustive // the others are no matter of time
	case refusal.WaitTimeout, refusal.RedisUnavailable:
		return true
	case refusal.Draining, refusal.Lost, refusal.LeaseExpired:
		return t.waiting > 0
	}
	return false
}

func (t *Ticket) waited() string {
	waited := time.Since(t.began).Round(100 * time.Millisecond)
	if t.waiting == 0 {
		return fmt.Sprintf("It waited %s.", waited)
	}
	// Two numbers of two queues: who wants something else is not in the way.
	return fmt.Sprintf("It waited %s. When it came it was number %d in line for what it asked for; in the whole pool %d waited, itself included.", waited, t.place, t.waiting)
}
