package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// Group consumes the log for one sink, such as one table or one topic, with any
// number of processes that share the work by the group's name. Redis remembers
// how far the group has come.
//
// An event is acknowledged when its handler has returned nil, and not before: it
// is handled at least once. It is handled again when a process dies between the
// two, so a sink that must not count twice makes the event's ID its key; within
// Window a process leaves out by itself what it has handled. What a new log
// announces again after its pool.reset it does not leave out, but for ends.
//
// A handler that fails gets the event again once it has lain idle for ClaimIdle,
// in this process or in another one, up to MaxDeliveries times. Every failure
// counts, so a handler whose sink is away should wait for it, and return early
// only when its context ends.
type Group struct {
	// Client is the Redis to read from; see [Connect]. Required.
	Client rueidis.Client
	// Pool is the pool's name. Required.
	Pool string
	// Name is the group's name, one for each sink. Required.
	Name string
	// Consumer names this process within the group. A process that comes back
	// under its name first gets what it had not acknowledged. By default it is new
	// for each call of Run, and removed at its end.
	Consumer string
	// From is where a group begins that does not exist yet.
	From Position
	// Batch is how many new entries are taken at once; 100 by default, 1 when
	// MaxDeliveries is 1. Entries that come again are taken one at a time.
	Batch int
	// Block is for how long one read waits; 20 s by default. It does not delay
	// events.
	Block time.Duration
	// ClaimIdle is after how long an event that was delivered and not acknowledged
	// may be handled by somebody else; 1 minute by default. It should be longer
	// than a handler ever takes for one event.
	ClaimIdle time.Duration
	// MaxDeliveries is how often an event is delivered before it is poison; 10 by
	// default, below 0 for no limit.
	MaxDeliveries int
	// Window is how many ids of handled events are remembered: of ends of sessions,
	// and of all else; 10,000 each by default.
	Window int
	// AcceptNewer passes events of a higher schema version to the handler, as far
	// as they could be read. Otherwise they are poison.
	AcceptNewer bool
	// OnPoison is called for an entry that will not be handled: it cannot be read,
	// or its handler failed too often. When it returns nil the entry is
	// acknowledged, otherwise it comes again. Without OnPoison the entry is
	// acknowledged and told to OnNotice.
	OnPoison func(ctx context.Context, poison *PoisonError) error
	// OnNotice is told what does not end Run: a [*GapError], [*HandlerError],
	// [*PoisonError] or [*RetryError]. By default a warning goes to the default
	// logger of log/slog.
	OnNotice func(err error)
}

// Handler handles one event; see [Group].
type Handler func(ctx context.Context, e event.Event) error

// PoisonError is an entry that will not be handled.
type PoisonError struct {
	Key        string
	StreamID   string
	Fields     map[string]string // as they stand in the stream
	Deliveries int64
	Err        error // why it could not be read, or the last error of its handler
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("poison at %s of %s, delivered %d times: %v", e.StreamID, e.Key, e.Deliveries, e.Err)
}

// Unwrap returns Err.
func (e *PoisonError) Unwrap() error { return e.Err }

// HandlerError says that a handler failed for an entry, which comes again.
type HandlerError struct {
	StreamID   string
	Deliveries int64
	Err        error
}

func (e *HandlerError) Error() string {
	return fmt.Sprintf("event at %s was not handled and comes again, delivered %d times: %v", e.StreamID, e.Deliveries, e.Err)
}

// Unwrap returns Err.
func (e *HandlerError) Unwrap() error { return e.Err }

// RetryError says that Redis could not be used and that Run waits before it tries
// again.
type RetryError struct {
	Wait time.Duration
	Err  error
}

func (e *RetryError) Error() string {
	return fmt.Sprintf("event log cannot be read, trying again in %v: %v", e.Wait.Round(time.Millisecond), e.Err)
}

// Unwrap returns Err.
func (e *RetryError) Unwrap() error { return e.Err }

// ErrTooManyDeliveries is the Err of a [PoisonError] for an entry that was
// delivered too often without any handler coming to an end, which is how an
// entry looks that kills its process.
var ErrTooManyDeliveries = errors.New("delivered too often without being handled")

// Run handles events one after the other until ctx ends, for which it returns
// nil. It returns an error when the group is not set up properly or Redis refuses
// to be used; while Redis is away it tries again. It has a Redis that became a
// replica close connections of Client, so that Client dials anew; others who share
// Client may see commands fail at that moment.
func (g Group) Run(ctx context.Context, handle Handler) error {
	m, err := newMember(g, handle)
	if err != nil {
		return err
	}
	defer m.leave(ctx)
	var pause backoff
	for ctx.Err() == nil {
		err := m.work(ctx, pause.reset)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case final(err) && !isNoGroup(err):
			return fmt.Errorf("consume %s as %s: %w", m.key, m.Name, err)
		}
		if isReadOnly(err) {
			m.hangUp(ctx)
		}
		wait := pause.next()
		if !isNoGroup(err) {
			m.notice(&RetryError{Wait: wait, Err: err})
		}
		sleep(ctx, wait)
	}
	return nil
}

func isNoGroup(err error) bool {
	e, ok := redisError(err)
	return ok && strings.HasPrefix(e.Error(), "NOGROUP")
}

func isReadOnly(err error) bool {
	e, ok := redisError(err)
	return ok && strings.HasPrefix(e.Error(), "READONLY")
}

func newMember(g Group, handle Handler) (*member, error) {
	if err := event.CheckPool(g.Pool); err != nil {
		return nil, err
	}
	switch {
	case g.Client == nil:
		return nil, errors.New("consumer group: no Client")
	case g.Name == "":
		return nil, errors.New("consumer group: no Name; use one for each sink")
	case handle == nil:
		return nil, errors.New("consumer group: no handler")
	}
	m := &member{Group: g, handle: handle, key: event.Key(g.Pool), last: id{}.String()}
	if m.Consumer == "" {
		host, _ := os.Hostname()
		m.Consumer, m.transient = fmt.Sprintf("%s-%d-%s", host, os.Getpid(), randomSuffix()), true
	}
	orDefault(&m.Batch, 100)
	orDefault(&m.Block, 20*time.Second)
	orDefault(&m.ClaimIdle, time.Minute)
	orDefault(&m.Window, 10_000)
	if m.MaxDeliveries == 0 {
		m.MaxDeliveries = 10
	}
	if m.MaxDeliveries == 1 {
		// Of several, those behind one that kills the process would have had their
		// only delivery without meeting the handler.
		m.Batch = 1
	}
	if m.OnNotice == nil {
		m.OnNotice = func(err error) {
			slog.Warn("event consumer group", "group", g.Name, "pool", g.Pool, "error", err)
		}
	}
	m.handled, m.taking = newOnce(m.Window), rueidis.NewLuaScript(takeScript)
	m.refused = event.NewWindow(10_000)
	return m, nil
}

func orDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
