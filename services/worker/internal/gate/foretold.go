package gate

import (
	"bytes"
	"errors"
	"os"
	"time"
)

// foretold is what the server has answered before the client called it: calls that
// are expected of the client, in order. Until it makes them, what was made for them
// is hidden from it. Only the client's direction of the relay uses it.
type foretold struct {
	calls []*advance
	part  []byte // of a call, which the guard lets through as soon as it knows it
	bytes uint64 // of answers that the client has got
	said  uint64 // messages of them

	until   time.Time     // when what has not been asked for is too old
	dismiss time.Duration // dismissTime but in tests
	outcome string        // used or unused; empty where nothing was prepared
}

// expect has the relay answer what the client is expected to call, once it does.
func (r *relay) expect(calls []*advance, hiding *veil, until time.Time, dismiss time.Duration) {
	if len(calls) == 0 {
		return
	}
	r.foretold.calls, r.foretold.until, r.foretold.dismiss = calls, until, dismiss
	r.veil = hiding
}

// shown is what the client may know of what the server says.
func (r *relay) shown(b []byte) []byte {
	r.talk.Lock()
	defer r.talk.Unlock()
	if r.veil == nil {
		return b
	}
	b = r.veil.pass(b)
	if r.veil.void() {
		r.veil = nil
	}
	return b
}

// unexpect forgets it all, with the connection on which it was called.
func (r *relay) unexpect() {
	r.lose()
	r.talk.Lock()
	defer r.talk.Unlock()
	r.veil = nil
}

// answered takes from what the guard lets through the calls that have their answer
// already, and returns what is left for the server. From the first other call on that
// is everything.
func (r *relay) answered(b []byte) (left []byte, err error) {
	f := &r.foretold
	if len(f.part) > 0 {
		b, f.part = append(f.part, b...), nil
	}
	for len(f.calls) > 0 && len(b) > 0 {
		text, control, size := firstFrame(b)
		if size == 0 {
			f.part = bytes.Clone(b)
			return nil, nil
		}
		if control {
			if err := r.server.send(b[:size], r.stall); err != nil {
				return nil, err
			}
			b = b[size:]
			continue
		}
		next := f.calls[0]
		if c, ok := parseCall(text); !ok || !next.suits(c) || !r.reveal(next, c.id) {
			return b, r.dismiss()
		}
		b, f.calls = b[size:], f.calls[1:]
		if len(f.calls) == 0 {
			f.calls, f.outcome = nil, used // an idle session keeps nothing of how it began
			r.metrics.prepared.WithLabelValues(used).Inc()
		}
	}
	return b, nil
}

// What becomes of what was prepared, in the metrics.
const used, unused = "used", "unused"

// dismissTime is how long the server may take to close a page before the client
// goes on without waiting for that.
const dismissTime = openTime

// dismiss closes what was made for nothing. A page is in the context that the client
// has, where recordings would show it and calls reach it, so the client's call waits
// until it is gone; a context with all that is in it is out of its way.
func (r *relay) dismiss() error {
	a := r.foretold.calls[0]
	closed := r.farewells()
	if err := r.server.send(closing(a), r.stall); err != nil {
		return err
	}
	if a.step != openPage {
		return nil
	}
	timer := time.NewTimer(r.foretold.dismiss)
	defer timer.Stop()
	select {
	case <-closed:
	case <-r.over:
	case <-timer.C:
	}
	return nil
}

// farewells has what was made for nothing stay hidden to its end, and returns a channel
// that is closed then.
func (r *relay) farewells() <-chan struct{} {
	r.lose()
	r.talk.Lock()
	defer r.talk.Unlock()
	if r.veil == nil {
		return nil
	}
	r.veil.gone = make(chan struct{})
	return r.veil.gone
}

// lose counts what the client has not asked for.
func (r *relay) lose() {
	if len(r.foretold.calls) > 0 {
		r.foretold.calls, r.foretold.outcome = nil, unused
		r.metrics.prepared.WithLabelValues(unused).Inc()
	}
}

// reveal gives the client an answer that it has just asked for, and from then on
// what else the server has to say of what that makes known. False means that what was
// made is not as new any more, or that there is no place for an answer now, which a
// client that waits for nothing else leaves.
func (r *relay) reveal(a *advance, id []byte) bool {
	r.talk.Lock()
	defer r.talk.Unlock()
	d := &r.down
	good := r.veil != nil && r.veil.of != a && !a.spoilt && time.Now().Before(r.foretold.until)
	// Before its hello is answered no client knows whom to call.
	place := d.frames.Messages() > 0 && r.ending.Load() == nil && len(r.answers) == 0 && d.betweenMessages()
	if !good || !place {
		return false
	}
	answer := a.answer(id)
	r.veil.lift(a)
	r.foretold.bytes += uint64(len(answer))
	r.foretold.said += a.said
	d.counter.bytes.Add(float64(len(answer)))
	d.counter.messages.Add(float64(a.said))
	if err := r.client.send(answer, r.clientStall); errors.Is(err, os.ErrDeadlineExceeded) {
		r.because(workerStalled)
		r.cut()
	}
	// Any other failure is a client that has gone, which reading will tell.
	return true
}
