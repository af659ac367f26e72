package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/admit"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/edge"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// accept takes a client from the edge. The walk of one connection is here:
// edge → admit → dial → relay.
func (p *proxy) accept(u edge.Upgrade) {
	if no, hopeless := p.hopeless(u.Ask.Demand); hopeless {
		p.refuse(u, no)
		return
	}
	if !p.begin() {
		p.refuse(u, refusal.New(refusal.Draining, ""))
		return
	}
	if !p.places.take() {
		p.walks.Done()
		p.refuse(u, refusal.New(refusal.OutOfDescriptors, ""))
		return
	}
	p.processors.client()
	p.walkers.lead(u)
}

func (p *proxy) begin() bool {
	p.walksMu.Lock()
	defer p.walksMu.Unlock()
	if p.draining {
		return false
	}
	p.walks.Add(1)
	return true
}

// hopeless asks the fleet cache whether waiting cannot help. Before the first
// complete read the cache does not know.
func (p *proxy) hopeless(d state.Demand) (refusal.Refusal, bool) {
	select {
	case <-p.fleet.Ready():
		return p.fleet.Snapshot().Hopeless(d, time.Now())
	default:
		return refusal.Refusal{}, false
	}
}

func (p *proxy) walk(u edge.Upgrade) {
	defer p.walks.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u.Client.OnLeave(cancel)

	began := time.Now()
	session := admit.NewID()
	ticket := p.admit.Open(state.Request{
		Session: session, Demand: u.Ask.Demand, Name: u.Ask.Name, Labels: u.Ask.Labels, Client: u.Remote,
		Token: u.Token.Name, TokenSessions: u.Token.MaxSessions, TokenQueue: u.Token.QueuePlaces(p.config.Queue.Size),
	}, p.wait(u.Ask))

	grant, conn, err := p.connect(ctx, ticket, u)
	if err != nil {
		p.places.leave()
		p.give(u, session, ticket, err)
		return
	}
	ticket.Started()
	p.metrics.connectSeconds.Observe(time.Since(began).Seconds())
	p.metrics.started.Inc()
	p.metrics.tokenStarted(u.Token.Name)
	p.memory.session()
	// A logger of its own would cost every session a kilobyte for as long as it runs, and
	// fields that nobody wants half a microsecond.
	if e := p.log.Check(zap.DebugLevel, "session started"); e != nil {
		e.Write(zap.String("session", session), zap.String("worker", grant.Worker),
			zap.Int("attempt", grant.Attempt), zap.String("client", u.Remote), zap.String("token", u.Token.Name))
	}

	p.running.add(session, grant.Worker)
	relayed, err := p.edge.Relay().Start(u.Client, conn.Conn, withSession(conn.Head, session), conn.Early, func(r relay.Result) {
		p.ended(session, r)
		if e := p.log.Check(zap.DebugLevel, "session ended"); e != nil {
			e.Write(zap.String("session", session), zap.String("reason", r.Reason))
		}
	})
	p.running.set(session, relayed)
	if err == nil && !p.fleet.Snapshot().Has(grant.Worker) {
		// It was missed before its sessions could be told so, or is not known yet.
		relayed.Doubt()
		if p.fleet.Snapshot().Has(grant.Worker) {
			relayed.Trust() // nobody would say so any more
		}
	}
	if err != nil {
		p.log.Warn("cannot relay the session", zap.String("session", session), zap.String("worker", grant.Worker), zap.Error(err))
		p.ended(session, relay.Result{Reason: relay.ReasonLost})
		p.refuse(u, refusal.New(refusal.OutOfDescriptors, ""))
	}
}

// connect gets a grant and dials its worker, and another one as long as
// workers fail and attempts are left.
func (p *proxy) connect(ctx context.Context, t *admit.Ticket, u edge.Upgrade) (state.Grant, *dial.Conn, error) {
	up := dial.Upgrade{Header: u.Header, Proxy: p.id, Voucher: p.voucher, Name: u.Ask.Name, Token: u.Token.Name, Client: u.Remote}
	if len(u.Ask.Labels) > 0 {
		b, _ := json.Marshal(u.Ask.Labels) // a string map always marshals
		up.Labels = string(b)
	}
	grant, err := t.Acquire(ctx)
	for attempt := 1; err == nil; attempt++ {
		var conn *dial.Conn
		conn, err = p.dial(ctx, grant, up)
		if err == nil {
			return grant, conn, nil
		}
		if ctx.Err() != nil {
			return grant, nil, ctx.Err()
		}
		if no, final := answered(err); final {
			return grant, nil, no
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			// The worker is not to blame.
			return grant, nil, refusal.New(refusal.OutOfDescriptors, "")
		}
		p.metrics.dialFailures.Inc()
		p.log.Warn("cannot use a worker; trying another", zap.String("session", grant.Session), zap.String("worker", grant.Worker),
			zap.String("endpoint", grant.Endpoint), zap.Error(err))
		if attempt == p.config.Dial.Attempts {
			t.Blame(ctx, grant)
			return grant, nil, refusal.New(refusal.DialFailed, "%d workers were tried.", attempt)
		}
		grant, err = t.Reassign(ctx, grant)
	}
	return grant, nil, err
}

func (p *proxy) dial(ctx context.Context, g state.Grant, u dial.Upgrade) (*dial.Conn, error) {
	d := dial.Dialer{Probe: p.config.Relay.Ping == 0, Open: p.edge.Relay().DialContext, Timeout: p.config.Dial.Timeout}
	return d.Dial(ctx, g, u)
}

// answered tells a failure that no other worker would mend, and the refusal of it:
// what the Playwright server itself says about the client, and what a gate says about
// the request. Whatever else a gate says is about its worker or about the session, which
// the pool knows better.
func answered(err error) (no refusal.Refusal, final bool) {
	said, ok := errors.AsType[*dial.Refused](err)
	if ok && said.Code == string(refusal.UpgradeRequired) {
		return refusal.New(refusal.UpgradeRequired, ""), true
	}
	if !ok || said.Code != "" || said.Status < 400 || said.Status > 499 {
		return refusal.Refusal{}, false
	}
	if said.Status == http.StatusPreconditionRequired {
		return refusal.New(refusal.NoVersion, "%s", said.Body), true
	}
	what := strings.TrimSpace(fmt.Sprintf("%d %s", said.Status, http.StatusText(said.Status)))
	if body := strings.TrimSpace(said.Body); body != "" {
		what += ": " + body
	}
	return refusal.New(refusal.ServerRefused, "It answered %s.", strings.TrimSuffix(what, ".")), true
}

// give tells the client why it gets no session, and the pool that it needs none.
func (p *proxy) give(u edge.Upgrade, session string, t *admit.Ticket, err error) {
	// The client hears first: Redis may be what is wrong.
	defer t.Close(admit.Reason(err))
	if errors.Is(err, context.Canceled) {
		p.metrics.left.Inc()
		p.log.Debug("client left before it had a session", zap.String("session", session))
		return
	}
	r := refusal.From(err)
	p.log.Info("client refused", zap.String("session", session), zap.String("client", u.Remote), zap.String("code", string(r.Code)))
	p.refuse(u, r)
}

func (p *proxy) refuse(u edge.Upgrade, no refusal.Refusal) {
	p.metrics.refused(no.Code)
	p.metrics.tokenRefused(u.Token.Name, no.Code)
	u.Client.Refuse(no.AppendHTTP(nil))
}

func (p *proxy) ended(session string, r relay.Result) {
	p.places.leave()
	p.running.remove(session)
	p.metrics.sessionEnded(r)
	p.admit.Ended(state.End{Session: session, Reason: r.Reason, Counts: state.Counts(r.Counts)})
}

func (p *proxy) wait(a edge.Ask) time.Duration {
	if a.Wait <= 0 {
		return p.config.Queue.Wait
	}
	return min(a.Wait, p.config.Queue.MaxWait)
}

// withSession adds the session's id to the worker's answer.
func withSession(head []byte, session string) []byte {
	end := len(head) - len("\r\n")
	out := make([]byte, 0, len(head)+64)
	out = append(out, head[:end]...)
	out = append(out, "x-pwdist-session-id: "...)
	out = append(out, session...)
	out = append(out, "\r\n"...)
	return append(out, head[end:]...)
}
