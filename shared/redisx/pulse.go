package redisx

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// errOutage ends what waits on a connection of its own: the shared one has
// found that Redis is away, which a connection that only waits may not notice
// for long. Behind a balancer that keeps it open it would go on waiting for a
// Redis that is no longer the one.
var errOutage = errors.New("given up because Redis is away")

// pulse tells those with connections of their own how it goes for the client.
type pulse struct {
	mu   sync.Mutex
	live context.Context // ends with the next outage
	end  context.CancelCauseFunc
	up   chan struct{} // closed while Redis answers
}

func newPulse() *pulse {
	p := &pulse{}
	p.set(true)
	return p
}

// set tells a change.
func (p *pulse) set(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up {
		p.live, p.end = context.WithCancelCause(context.Background())
		if p.up == nil {
			p.up = make(chan struct{})
		}
		close(p.up)
		return
	}
	p.end(errOutage)
	p.up = make(chan struct{})
}

// now returns a context that ends with errOutage when Redis goes away, which
// it has at once while Redis is away.
func (p *pulse) now() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.live
}

// pause waits for d, where it is not Redis as a whole that fails, and for the
// end of an outage. It ends with ctx.
func (p *pulse) pause(ctx context.Context, d time.Duration) {
	select {
	case <-p.well():
		pause(ctx, d)
	default:
	}
	select {
	case <-p.well():
	case <-ctx.Done():
	}
}

// well returns a channel that is closed while Redis answers.
func (p *pulse) well() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up
}

// pulseOf is the pulse of a client of [Connect]; any other is always well.
func pulseOf(client rueidis.Client) *pulse {
	if w, ok := client.(*watched); ok {
		return w.pulse
	}
	return newPulse()
}
