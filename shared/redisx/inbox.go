package redisx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

const (
	inboxBatch = 128
	// inboxBlock is how long one blocking read waits in Redis. An idle process
	// so costs a command in ten seconds, a fifth of what its heartbeats and
	// pings cost. It is also what bounds the time for which this one connection
	// goes unnoticed when it alone died, behind something that still answers
	// keep-alives.
	inboxBlock = 10 * time.Second
)

// InboxEntry is one message in the inbox of a process.
type InboxEntry struct {
	ID     string
	Fields map[string]string
}

// ReadInbox hands every entry of the stream key to handle, in order, one at a
// time, and deletes what handle returned nil for. It reads until ctx ends and
// returns ctx's error, or a [SetupError].
//
// It always reads from the start of the stream, since what was handled is
// gone: so nothing is missed when the connection breaks or Redis loses its
// data, and there is no position to keep. An entry may be handed over again
// only if Redis itself has lost its deletion, so handle must be idempotent.
// After an error of handle the entry stays and comes again after a wait; those
// behind it are handled meanwhile. log may be nil.
func ReadInbox(ctx context.Context, client rueidis.Client, key string, handle func(InboxEntry) error, log *zap.Logger) error {
	if log == nil {
		log = zap.NewNop()
	}
	r := &inbox{client: client, pulse: pulseOf(client), key: key, handle: handle, log: log, handled: map[string]struct{}{}}
	retry := backoff{first: 100 * time.Millisecond, last: 5 * time.Second}
	failed := false
	for ctx.Err() == nil {
		err := r.session(ctx, func() {
			retry.reset()
			if failed {
				log.Info("reading the inbox again", zap.String("key", key))
			}
			failed = false
		})
		switch {
		case ctx.Err() != nil:
		case IsSetup(err):
			return err
		case errors.Is(err, errHandler):
			pause(ctx, retry.wait())
		default:
			if !failed {
				log.Warn("cannot read the inbox; trying again", zap.String("key", key), zap.String("why", reason(err)))
				failed = true
			}
			r.pulse.pause(ctx, retry.wait())
		}
	}
	return ctx.Err()
}

type inbox struct {
	client rueidis.Client
	pulse  *pulse
	key    string
	handle func(InboxEntry) error
	log    *zap.Logger
	// handled are entries whose deletion has not been confirmed.
	handled map[string]struct{}
}

// errHandler says that an entry could not be handled and is still there.
var errHandler = errors.New("entry not handled")

// session reads over one connection until something fails.
func (r *inbox) session(ctx context.Context, alive func()) error {
	// A connection of our own, which no other command waits behind.
	dc, _ := r.client.Dedicate()
	defer dc.Close()
	for {
		entries, err := r.read(ctx, dc)
		if err != nil {
			return err
		}
		if err := r.take(ctx, dc, entries); err != nil {
			return err
		}
		alive()
	}
}

// read waits for entries; none after a while is no error.
func (r *inbox) read(ctx context.Context, dc rueidis.DedicatedClient) ([]rueidis.XRangeEntry, error) {
	// With a deadline on the context rueidis would read synchronously and not
	// notice that it is cancelled. A timer that cancels serves both.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(inboxBlock+answerTime, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	defer context.AfterFunc(r.pulse.now(), func() { cancel(errOutage) })()

	cmd := dc.B().Xread().Count(inboxBatch).Block(inboxBlock.Milliseconds()).Streams().Key(r.key).Id("0").Build()
	streams, err := dc.Do(ctx, cmd).AsXRead()
	switch {
	case rueidis.IsRedisNil(err):
		return nil, nil
	case errors.Is(err, context.Canceled):
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("read: %w", permission(err))
	}
	return streams[r.key], nil
}

// take hands entries over and deletes what is done.
func (r *inbox) take(ctx context.Context, dc rueidis.DedicatedClient, entries []rueidis.XRangeEntry) error {
	if len(entries) == 0 {
		return nil
	}
	var failed error
	done := make([]string, 0, len(entries))
	for _, e := range entries {
		if _, known := r.handled[e.ID]; !known {
			if err := r.handle(InboxEntry{ID: e.ID, Fields: e.FieldValues}); err != nil {
				r.log.Error("cannot handle an inbox entry; it stays", zap.String("key", r.key), zap.String("id", e.ID), zap.Error(err))
				failed = errHandler
				continue
			}
			r.handled[e.ID] = struct{}{}
		}
		done = append(done, e.ID)
	}
	if len(done) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		if err := dc.Do(ctx, dc.B().Xdel().Key(r.key).Id(done...).Build()).Error(); err != nil {
			return fmt.Errorf("delete: %w", permission(err))
		}
		clear(r.handled)
	}
	return failed
}
