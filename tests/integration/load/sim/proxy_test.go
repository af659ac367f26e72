package sim_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// proxy is a virtual proxy: it reads its inbox with the reader of the real one,
// keeps its lease, reaps when a deadline comes, and walks with its clients.
type proxy struct {
	w   *world
	h   host
	id  string
	end chan struct{} // closed when it dies

	heeded  string // the last reply to a heartbeat
	mu      sync.Mutex
	waiting map[string]chan state.Notice
	ends    []state.End
}

func (w *world) newProxy(h host) *proxy {
	p := &proxy{w: w, h: h, id: fmt.Sprintf("p%d", w.proxyIDs.Add(1)), end: make(chan struct{}), waiting: map[string]chan state.Notice{}}
	p.beat()
	ctx, cancel := context.WithCancel(context.Background())
	w.all.Go(func() {
		select {
		case <-p.end:
		case <-w.stop:
		}
		cancel()
	})
	w.all.Go(func() {
		if err := redisx.ReadInbox(ctx, h.client, h.Keys().Inbox(p.id), p.notice, nil); !errors.Is(err, context.Canceled) {
			w.t.Errorf("inbox of %s: %v", p.id, err)
		}
	})
	due := time.NewTimer(0)
	// Apart, because to reap what a dead proxy left can take longer than a lease
	// where the machine is busy.
	w.all.Go(func() {
		tick := time.NewTicker(w.o.Heartbeat)
		defer tick.Stop()
		p.on(tick.C, due, p.beat)
	})
	w.all.Go(func() { p.on(due.C, due, p.reap) })
	return p
}

// on takes a turn whenever there is something on the channel, until the proxy dies,
// and has the next reaping wait for what the turn says.
func (p *proxy) on(c <-chan time.Time, due *time.Timer, turn func() time.Duration) {
	for {
		select {
		case <-p.end:
			return
		case <-p.w.stop:
			return
		case <-c:
			p.schedule(due, turn())
		}
	}
}

func (p *proxy) schedule(due *time.Timer, next time.Duration) {
	if next >= 0 && next < p.w.o.Heartbeat {
		due.Reset(next + time.Millisecond)
	}
}

// beat renews the lease. When that was too late, the reaper may have ended what
// its clients wait for, and they ask again.
func (p *proxy) beat() time.Duration {
	p.mu.Lock()
	ends := p.ends
	p.ends = nil
	p.mu.Unlock()
	r, err := p.h.ProxyHeartbeat(context.Background(), p.id, p.heeded, ends...)
	if err != nil {
		p.w.t.Errorf("heartbeat of %s: %v", p.id, err)
	}
	p.heeded = r.Told
	if r.New {
		p.mu.Lock()
		defer p.mu.Unlock()
		for id, c := range p.waiting {
			select {
			case c <- state.Notice{Session: id}:
			default: // it has enough to read
			}
		}
	}
	return r.Next
}

// reap goes on until nothing is due, in the batches of the real proxy.
func (p *proxy) reap() time.Duration {
	for !p.dead() {
		ended, next, err := p.h.Reap(context.Background(), 100)
		if err != nil {
			p.w.t.Errorf("reap: %v", err)
			return -1
		}
		if next != 0 {
			return next
		}
		if ended == 0 {
			return p.w.o.Heartbeat / 10
		}
	}
	return -1
}

func (p *proxy) dead() bool { return closed(p.end) }

func (p *proxy) notice(e redisx.InboxEntry) error {
	n, err := state.ParseNotice(e.Fields)
	if err != nil {
		return err
	}
	p.w.heard(n)
	p.mu.Lock()
	c := p.waiting[n.Session]
	p.mu.Unlock()
	if c != nil {
		c <- n
	}
	return nil
}

// walk leads one client through its life, by the steps of the real proxy.
func (p *proxy) walk(c *client) {
	grants := make(chan state.Notice, 16)
	p.mu.Lock()
	p.waiting[c.id] = grants
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, c.id)
		p.mu.Unlock()
	}()
	acquire := func(again bool) (state.Standing, error) {
		return p.h.Acquire(context.Background(), state.Request{Session: c.id, Proxy: p.id, Demand: c.demand, Name: c.kind, QueueLimit: 1 << 30, Again: again})
	}
	st, err := acquire(false)
	c.asked()
	for {
		switch {
		case err != nil:
			p.w.t.Errorf("client %s: %v", c.id, err)
			return
		case p.dead():
			return
		case st.Phase == state.Assigned:
			if p.serve(c, st.Grant) {
				return
			}
			st, err = p.h.Reassign(context.Background(), c.id, st.Grant.Worker, st.Grant.Attempt)
		case st.Phase == state.Queued:
			select {
			case <-p.end:
				return
			case <-c.givesUp:
				if _, err := p.h.Cancel(context.Background(), c.id, p.id, "cancelled"); err != nil {
					p.w.t.Errorf("cancel: %v", err)
				}
				return
			case n := <-grants:
				switch {
				case n.Granted:
					st = state.Standing{Phase: state.Assigned, Grant: n.Grant}
				case n.Ended != "":
					return
				default:
					st, err = acquire(true)
				}
			}
		case st.Phase == state.Active:
			// Its worker died between the start and the answer to it: nobody else sees that it is over.
			if _, err := p.h.Cancel(context.Background(), c.id, p.id, "dial_failed"); err != nil {
				p.w.t.Errorf("cancel: %v", err)
			}
			return
		default:
			return // it has ended
		}
	}
}

// serve is a session, from the dial to its end; false when it could not start.
func (p *proxy) serve(c *client, g state.Grant) bool {
	gate, ok := p.w.gates.Load(g.Endpoint)
	if !ok {
		return false
	}
	k := gate.(*worker)
	s := k.dial(g, p.id, c.kind)
	if s == nil {
		return false
	}
	reason := "client_closed"
	select {
	case <-c.done():
	case <-s.cut:
		reason = "worker_closed"
	case <-p.end: // the gate sees the connection break
	}
	k.hangUp(c.id)
	p.w.over.Add(1)
	if !p.dead() {
		p.mu.Lock()
		p.ends = append(p.ends, state.End{Session: c.id, Reason: reason})
		p.mu.Unlock()
	}
	return true
}
