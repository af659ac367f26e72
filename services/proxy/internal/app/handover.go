package app

import (
	"context"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/handover"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

// The sockets that one process passes on to the next.
const (
	socketPublic = "public"
	socketAdmin  = "admin"
)

// succession is the proxy's place between the process before it and the one
// after it on the same machine.
type succession struct {
	path  string
	taken *handover.Taken // from the proxy before this one
	given *handover.Taken // by the service manager
	offer *handover.Offer
	over  chan struct{} // closed when another process has taken over
	// managed tells that the public socket is the service manager's, which keeps it.
	managed bool
	said    bool // to the proxy before this one, that it shall stop
}

// shared tells whether another process has the public socket, or will have it.
func (s *succession) shared() bool {
	return s.managed || s.offer != nil && s.offer.Held()
}

// unsaid tells whether the proxy before this one goes on as if there were no other.
func (s *succession) unsaid() bool { return s.taken != nil && !s.said }

// listener is a socket that is open already, or nil.
func (s *succession) listener(name string) net.Listener {
	if ln := s.taken.Listener(name); ln != nil {
		return ln
	}
	return s.given.Listener(name)
}

// takeOver gets the sockets that are open already: those of the proxy that runs,
// if one does, or else those of the service manager.
func (p *proxy) takeOver(ctx context.Context, port *telemetry.Admin) error {
	s := &p.succession
	var err error
	if s.given, err = handover.Activated(socketPublic, socketAdmin); err != nil {
		return err
	}
	s.managed = s.given.Has(socketPublic)
	if s.path != "" {
		if s.taken, err = handover.Take(ctx, s.path); err != nil {
			return err
		}
	}
	if ln := s.listener(socketAdmin); ln != nil {
		port.Adopt(ln)
	}
	return nil
}

// succeed has the process before this one stop, and offers the sockets to the
// one that will come after. The offer comes first, because it may fail: then the
// process before this one has heard nothing yet and goes on.
func (p *proxy) succeed(ctx context.Context, port *telemetry.Admin) error {
	s := &p.succession
	if s.path != "" {
		sockets := map[string]handover.Socket{socketPublic: p.edge.Socket()}
		if ln, ok := port.Socket().(handover.Socket); ok {
			sockets[socketAdmin] = ln
		}
		var err error
		s.offer, err = handover.Listen(ctx, s.path, sockets, func() {
			p.log.Info("another proxy has taken over; finishing what runs", zap.Int("sessions", p.edge.Relay().Len()))
			port.Leave()
			p.settled.Store(new(p.edge.Leave()))
			close(s.over)
			p.fail(nil)
		})
		if err != nil {
			return err
		}
	}
	port.TakeOver()
	s.given.Close() // nothing is left of it, or the proxy before this one has the same
	if s.taken == nil {
		return nil
	}
	s.said = true
	if err := s.taken.Serving(); err != nil {
		p.log.Warn("the proxy before this one may still accept clients", zap.Error(err))
	} else {
		p.log.Info("took over from the proxy before this one")
	}
	return nil
}

// withdraw runs first in a stop. Until the balancer in front knows, clients come as
// ever, and another process may still take over.
func (p *proxy) withdraw(ctx context.Context) error {
	p.health.SetReady(checkAccept, false, "draining")
	delay := time.NewTimer(p.config.DrainDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-p.succession.over:
	case <-ctx.Done():
	}
	if p.succession.offer != nil {
		p.succession.offer.Close()
	}
	return nil
}

// forsake gives up what was taken and is not used, when a start fails.
func (p *proxy) forsake(context.Context) error {
	p.succession.taken.Close()
	p.succession.given.Close()
	return nil
}

// finishWaiting lets everybody whose connection is open get a session until ctx ends,
// if another process has the sockets and serves who comes, or will when this one has ended.
func (p *proxy) finishWaiting(ctx context.Context) {
	if p.succession.unsaid() || p.succession.managed {
		p.settled.Store(new(p.edge.Leave()))
	}
	settled := p.settled.Load()
	if settled == nil {
		return
	}
	select {
	case <-*settled:
	case <-ctx.Done():
		return
	}
	walked := make(chan struct{})
	go func() {
		p.walks.Wait()
		close(walked)
	}()
	select {
	case <-walked:
	case <-ctx.Done():
	}
}
