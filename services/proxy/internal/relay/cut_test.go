package relay_test

import (
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
)

// foretold returns the sessions whose end is foretold. None of them has ended by then, nor
// while whoever is told takes longer than the next judgement.
func foretold(o *relay.Options) <-chan *relay.Session {
	told := make(chan *relay.Session, 64)
	stall := o.Stall
	o.Foretell = func(sessions []*relay.Session, reason string) {
		time.Sleep(stall / 2)
		for _, s := range sessions {
			if !s.Done() && reason == relay.ReasonStalled {
				told <- s
			}
		}
	}
	return told
}
