package gate

import (
	"errors"
	"os"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
)

const (
	// maxAnswers is what the guard may have to say while the server's message is
	// under way; who makes that many refused calls at once is cut off.
	maxAnswers = 256 << 10
	// maxLogged bounds what one session writes into the log with refused calls.
	maxLogged = 10
)

// watch puts a guard before the server.
func (r *relay) watch(rules *guard.Rules, refused func(method string)) {
	if rules == nil {
		return
	}
	r.guard, r.refused = rules.Guard(r), refused
}

// Forward implements guard.Out.
func (r *relay) Forward(b []byte) error {
	if len(r.foretold.calls) > 0 {
		var err error
		if b, err = r.answered(b); err != nil || len(b) == 0 {
			return err
		}
	}
	return r.server.send(b, r.stall)
}

// Refused implements guard.Out.
func (r *relay) Refused(method string) { r.refused(method) }

// Answer implements guard.Out. The client waits for it as for any answer of
// the server, so it may stand wherever a message of the server may begin.
func (r *relay) Answer(frame []byte) error {
	r.talk.Lock()
	defer r.talk.Unlock()
	if len(r.answers) > maxAnswers {
		return errTooMany
	}
	r.answers = append(r.answers, frame...)
	if err := r.answerLocked(); errors.Is(err, os.ErrDeadlineExceeded) {
		r.because(workerStalled)
		r.cut()
	}
	// Any other failure is a client that has gone, which reading will tell.
	return nil
}

var errTooMany = errors.Join(guard.ErrPolicy, errors.New("too many refused calls at once"))

// betweenMessages tells whether a message of ours may stand here. The lock is held.
func (p *pump) betweenMessages() bool {
	return !p.opaque && p.frames.AtMessageBoundary() && !p.frames.CloseSeen()
}

func (r *relay) answerLocked() error {
	if len(r.answers) == 0 || !r.down.betweenMessages() {
		return nil
	}
	err := r.client.send(r.answers, r.clientStall)
	r.answers = r.answers[:0]
	return err
}

// guarded handles what the guard says to bytes of the client.
func (p *pump) guarded(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, guard.ErrPolicy):
		p.r.refused("protocol")
		p.r.ear.forget() // no stock client's
		p.r.end(Ending{Reason: policy, Text: err.Error()})
		p.from.release()
		p.discard()
	default:
		p.refused(err)
	}
	return false
}

// refusals counts the refused calls of a session and logs the first of them.
func (g *Gate) refusals(session string) func(method string) {
	n := 0
	return func(method string) {
		g.o.Metrics.calls.WithLabelValues(method).Inc()
		if n++; n <= maxLogged {
			g.o.Log.Info("call refused", zap.String("session", session), zap.String("method", method))
		}
	}
}
