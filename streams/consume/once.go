package consume

import "github.com/playwright-distributed/playwright-distributed/streams/event"

// once tells facts from their repetitions. A new log announces what lives on,
// under the ids that it had in the old one, and that is news to a sink that
// started anew with the log. What has ended has ended for good; whoever reported
// it and got no answer reports it to the new log again.
type once struct {
	size int
	ends *event.Window
	rest *event.Window
}

func newOnce(size int) *once {
	o := &once{size: size, ends: event.NewWindow(size)}
	o.newLog()
	return o
}

// newLog forgets what the old log told of those that live.
func (o *once) newLog() { o.rest = event.NewWindow(o.size) }

func (o *once) of(e event.Event) *event.Window {
	if isEnd(e) {
		return o.ends
	}
	return o.rest
}

func (o *once) has(e event.Event) bool { return o.of(e).Has(e.ID) }

func (o *once) add(e event.Event) { o.of(e).Add(e.ID) }

func isEnd(e event.Event) bool {
	return e.Type == event.SessionEnded || e.Type == event.SessionRejected
}
