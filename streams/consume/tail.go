package consume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// Tail yields the events of a pool from a position on, and waits for more until
// ctx ends or the loop is left. The end of ctx yields nothing.
//
// An error does not end the sequence as long as there is a way to go on:
//
//   - [*GapError]: entries are missing; the sequence goes on behind them.
//   - [*event.MalformedError]: one entry could not be read.
//   - [*event.VersionError]: the event that comes with it was written by a newer
//     release, and holds what could be read.
//
// Any other error is the last thing that it yields: the pool's name is not valid,
// or Redis refuses to be read (wrong password, no permission, another type of
// key). When Redis is away, Tail tries again until it is back; see [WithOnRetry].
//
// The same event can come twice after a failover of Redis; see [Distinct].
func Tail(ctx context.Context, client rueidis.Client, pool string, from Position, opts ...Option) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		if err := event.CheckPool(pool); err != nil {
			yield(event.Event{}, err)
			return
		}
		o := newOptions(opts)
		r := reader{client: client, key: event.Key(pool), from: from, batch: o.batch}
		var pause backoff
		for ctx.Err() == nil {
			entries, gap, err := r.read(ctx, o.block)
			if err != nil {
				if ctx.Err() != nil {
					return
				}
				if final(err) {
					yield(event.Event{}, fmt.Errorf("read %s: %w", r.key, err))
					return
				}
				wait := pause.next()
				o.retrying(ctx, err, wait)
				sleep(ctx, wait)
				continue
			}
			pause.reset()
			if gap != nil && !yield(event.Event{}, gap) {
				return
			}
			for _, e := range entries {
				if !yield(event.Parse(e.ID, e.FieldValues)) {
					return
				}
			}
		}
	}
}

// Replay yields the events between two positions, of which to is at most the end
// of the log when Replay begins, and ends. It yields errors as [Tail] does, with
// two differences: when Redis is away, that is the last error, and so is the end
// of ctx.
func Replay(ctx context.Context, client rueidis.Client, pool string, from, to Position, opts ...Option) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		if err := event.CheckPool(pool); err != nil {
			yield(event.Event{}, err)
			return
		}
		o := newOptions(opts)
		r := reader{client: client, key: event.Key(pool), from: from, batch: o.batch}
		end, err := r.end(ctx, to)
		for err == nil && ctx.Err() == nil {
			var entries []rueidis.XRangeEntry
			var gap *GapError
			entries, gap, err = r.read(ctx, 0)
			if err != nil {
				break
			}
			if gap != nil && !yield(event.Event{}, gap) {
				return
			}
			if gap == nil && len(entries) == 0 {
				return
			}
			for _, e := range entries {
				at, bad := parseID(e.ID)
				if bad != nil || end.before(at) {
					return
				}
				if !yield(event.Parse(e.ID, e.FieldValues)) {
					return
				}
			}
			if len(entries) > 0 && !r.cur.pos.before(end) {
				return
			}
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		yield(event.Event{}, fmt.Errorf("read %s: %w", r.key, err))
	}
}

// reader takes entries from the log in order.
type reader struct {
	client rueidis.Client
	key    string
	from   Position
	batch  int64

	ready bool
	doubt bool // a read has failed, and what answers now may be another Redis
	cur   cursor
}

// start finds out where the log stands, once.
func (r *reader) start(ctx context.Context) error {
	if r.ready {
		return nil
	}
	call, cancel := limited(ctx, answerLimit)
	defer cancel()
	info, err := parseInfo(r.client.Do(call, xinfo(r.client, r.key)))
	if err != nil {
		return withCause(call, err)
	}
	r.cur, r.ready = newCursor(r.key, r.from, info), true
	return nil
}

// end is the last entry up to a position.
func (r *reader) end(ctx context.Context, to Position) (id, error) {
	if err := r.start(ctx); err != nil {
		return id{}, err
	}
	switch {
	case to.kind == atBeginning:
		return id{}, nil
	case to.kind == atEnd, r.cur.last.before(to.id):
		return r.cur.last, nil
	}
	return to.id, nil
}

// read returns the next entries. With a block time it waits for one at most that
// long. When there is a gap it returns no entries, and goes on behind the gap
// the next time.
func (r *reader) read(ctx context.Context, block time.Duration) (_ []rueidis.XRangeEntry, _ *GapError, err error) {
	if err := r.start(ctx); err != nil {
		return nil, nil, err
	}
	if r.doubt && r.cur.read {
		if gap, err := r.recheck(ctx); gap != nil || err != nil {
			return nil, gap, err
		}
	}
	defer func() { r.doubt = err != nil }()
	call, cancel := limited(ctx, readLimit(block))
	defer cancel()
	// XINFO rides along, so that it is answered right behind the read.
	answers := r.client.DoMulti(call, r.xread(r.cur.pos, r.batch, block), xinfo(r.client, r.key))

	entries, err := streamEntries(answers[0], r.key)
	if err != nil {
		return nil, nil, withCause(call, err)
	}
	info, err := parseInfo(answers[1])
	if err != nil {
		return nil, nil, withCause(call, err)
	}
	if gap := r.cur.look(info); gap != nil {
		return nil, gap, nil
	}
	if len(entries) == 0 {
		return nil, nil, nil
	}
	first, err := parseID(entries[0].ID)
	if err != nil {
		return nil, nil, err
	}
	last, err := parseID(entries[len(entries)-1].ID)
	if err != nil {
		return nil, nil, err
	}
	r.cur.advance(first, last, int64(len(entries)), info)
	return entries, nil, nil
}

// recheck looks, once after a read that failed, whether the log still has what
// was read from it. It blocks, if for a moment only, to ask over the kind of
// connection that failed.
func (r *reader) recheck(ctx context.Context) (*GapError, error) {
	call, cancel := limited(ctx, answerLimit)
	defer cancel()
	answers := r.client.DoMulti(call, r.xread(r.cur.pos.previous(), 1, time.Millisecond), xinfo(r.client, r.key))
	entries, err := streamEntries(answers[0], r.key)
	if err != nil {
		return nil, withCause(call, err)
	}
	info, err := parseInfo(answers[1])
	if err != nil {
		return nil, withCause(call, err)
	}
	next := id{}
	if len(entries) > 0 {
		if next, err = parseID(entries[0].ID); err != nil {
			return nil, err
		}
	}
	return r.cur.recheck(next, info), nil
}

// xread is put together by hand because rueidis repeats a built XREAD by itself,
// and in silence, for as long as Redis is away.
func (r *reader) xread(after id, count int64, block time.Duration) rueidis.Completed {
	args := []string{"COUNT", strconv.FormatInt(count, 10)}
	if block > 0 {
		args = append(args, "BLOCK", strconv.FormatInt(block.Milliseconds(), 10))
	}
	cmd := r.client.B().Arbitrary("XREAD").Args(args...).Args("STREAMS").Keys(r.key).Args(after.String())
	if block > 0 {
		return cmd.Blocking()
	}
	return cmd.Build()
}

func streamEntries(r rueidis.RedisResult, key string) ([]rueidis.XRangeEntry, error) {
	streams, err := r.AsXRead()
	if err != nil {
		if rueidis.IsRedisNil(err) {
			return nil, nil
		}
		return nil, err
	}
	return streams[key], nil
}

// withCause says why a call was given up where that says more than "canceled".
func withCause(call context.Context, err error) error {
	if errors.Is(err, context.Canceled) && context.Cause(call) != nil {
		if errors.Is(context.Cause(call), context.DeadlineExceeded) {
			return errors.New("redis does not answer")
		}
		return context.Cause(call)
	}
	return err
}
