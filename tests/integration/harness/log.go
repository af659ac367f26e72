package harness

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// Log follows the events of a pool.
type Log struct {
	mu      sync.Mutex
	events  []event.Event
	bad     []error
	changed chan struct{}
	stop    context.CancelFunc
	stopped chan struct{}
}

func followLog(r *Redis, key string) *Log {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Log{changed: make(chan struct{}), stop: cancel, stopped: make(chan struct{})}
	go l.run(ctx, r, key)
	return l
}

func (l *Log) run(ctx context.Context, r *Redis, key string) {
	defer close(l.stopped)
	from := "0"
	for ctx.Err() == nil {
		got, err := r.Client.Do(ctx, r.Client.B().Xread().Block(0).Streams().Key(key).Id(from).Build()).AsXRead()
		if err != nil && !rueidis.IsRedisNil(err) {
			select { // Redis is down, which some tests want
			case <-ctx.Done():
			case <-time.After(look):
			}
			continue
		}
		for _, entry := range got[key] {
			from = entry.ID
			l.add(entry.ID, entry.FieldValues)
		}
	}
}

func (l *Log) add(id string, fields map[string]string) {
	e, err := event.Parse(id, fields)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.bad = append(l.bad, err)
		return
	}
	l.events = append(l.events, e)
	close(l.changed)
	l.changed = make(chan struct{})
}

// All returns the events so far, in order.
func (l *Log) All() []event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// Of returns the events so far about a session, given by its id or name, or
// about a worker.
func (l *Log) Of(subject string) []event.Event {
	var of []event.Event
	for _, e := range l.All() {
		if e.Subject() == subject || e.Session != nil && e.Session.Name == subject {
			of = append(of, e)
		}
	}
	return of
}

// Count counts the events so far of a type.
func (l *Log) Count(kind event.Type) int {
	n := 0
	for _, e := range l.All() {
		if e.Type == kind {
			n++
		}
	}
	return n
}

// Await returns the first event, of those there are and those to come, for
// which match is true.
func (l *Log) Await(tb testing.TB, what string, match func(event.Event) bool) event.Event {
	tb.Helper()
	return l.AwaitAfter(tb, 0, what, match)
}

// AwaitAfter is Await without the first n events.
func (l *Log) AwaitAfter(tb testing.TB, n int, what string, match func(event.Event) bool) event.Event {
	tb.Helper()
	end := time.After(Patience)
	for {
		l.mu.Lock()
		events, changed := l.events, l.changed
		l.mu.Unlock()
		for ; n < len(events); n++ {
			if match(events[n]) {
				return events[n]
			}
		}
		select {
		case <-changed:
		case <-end:
			tb.Fatalf("waited %s in vain for the event: %s", Patience, what)
		}
	}
}

// AwaitSession waits for an event of a session, given by its id or name.
func (l *Log) AwaitSession(tb testing.TB, session string, kind event.Type) event.Event {
	tb.Helper()
	return l.Await(tb, string(kind)+" of "+session, func(e event.Event) bool {
		return e.Type == kind && e.Session != nil && (e.Session.ID == session || e.Session.Name == session)
	})
}

// Text is the log for people, one event a line.
func (l *Log) Text() string {
	var b strings.Builder
	for _, e := range l.All() {
		b.WriteString(line(e) + "\n")
	}
	return b.String()
}

func line(e event.Event) string {
	parts := []string{e.At.Format("15:04:05.000"), string(e.Type), e.Subject()}
	switch {
	case e.Session != nil:
		s := e.Session
		parts = append(parts, s.Name, "worker="+s.Worker, "attempt="+itoa(int(s.Attempt)), string(s.Reason))
	case e.Worker != nil:
		parts = append(parts, e.Worker.Endpoint, e.Worker.Reason)
	}
	return strings.Join(parts, " ")
}
