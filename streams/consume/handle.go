package consume

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// ackEvery bounds how much is handled again after a crash, for handlers that take
// their time.
const ackEvery = time.Second

// handleAll handles entries in order and acknowledges those that are done with.
// times says how often each was delivered; once when it is nil.
func (m *member) handleAll(ctx context.Context, entries []rueidis.XRangeEntry, times map[string]int64) error {
	var done []string
	flush := func() error {
		err := m.ack(ctx, done)
		done = nil
		return err
	}
	held, acked := time.Now(), time.Now()
	for i, e := range entries {
		if ctx.Err() != nil {
			break
		}
		switch waited := time.Since(held); {
		case waited >= m.ClaimIdle:
			// Somebody else may have them by now. If nobody has, claim brings them
			// back.
			return flush()
		case waited >= m.ClaimIdle/2:
			if err := m.hold(ctx, entries[i:]); err != nil {
				return errors.Join(flush(), err)
			}
			held = time.Now()
		}
		n := int64(1)
		if times != nil {
			n = times[e.ID]
		}
		if m.handleOne(ctx, e, n) {
			done = append(done, e.ID)
			m.last = e.ID
		}
		if time.Since(acked) >= ackEvery {
			if err := flush(); err != nil {
				return err
			}
			acked = time.Now()
		}
	}
	return flush()
}

// handleOne tells whether the entry is done with.
func (m *member) handleOne(ctx context.Context, entry rueidis.XRangeEntry, deliveries int64) bool {
	e, err := event.Parse(entry.ID, entry.FieldValues)
	var newer *event.VersionError
	if err != nil && !(m.AcceptNewer && errors.As(err, &newer)) {
		return m.poison(ctx, entry, deliveries, err)
	}
	if m.handled.has(e) {
		anew, err := m.announced(ctx, e)
		if err != nil || !anew {
			return err == nil // it comes again when nobody can tell
		}
	}
	if e.Type == event.PoolReset {
		m.handled.newLog()
	}
	if m.MaxDeliveries > 0 && deliveries > int64(m.MaxDeliveries) {
		return m.poison(ctx, entry, deliveries, ErrTooManyDeliveries)
	}
	err = m.handle(ctx, e)
	if err == nil {
		m.handled.add(e)
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	if m.MaxDeliveries > 0 && deliveries >= int64(m.MaxDeliveries) {
		return m.poison(ctx, entry, deliveries, err)
	}
	m.refuse(entry, deliveries, err)
	return false
}

// refuse leaves an entry to whoever claims it.
func (m *member) refuse(entry rueidis.XRangeEntry, deliveries int64, err error) {
	m.refused.Add(entry.ID)
	m.notice(&HandlerError{StreamID: entry.ID, Deliveries: deliveries, Err: err})
}

func (m *member) poison(ctx context.Context, entry rueidis.XRangeEntry, deliveries int64, err error) bool {
	p := &PoisonError{Key: m.key, StreamID: entry.ID, Fields: entry.FieldValues, Deliveries: deliveries, Err: err}
	if m.OnPoison == nil {
		m.notice(p)
		return true
	}
	if err := m.OnPoison(ctx, p); err != nil {
		m.refuse(entry, deliveries, err)
		return false
	}
	return true
}

// ack acknowledges entries, also when ctx has ended: they are handled.
func (m *member) ack(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := m.call(context.WithoutCancel(ctx), m.Client.B().Xack().Key(m.key).Group(m.Name).Id(ids...).Build())
	return err
}

// hold keeps others from claiming entries that still wait for their turn.
func (m *member) hold(ctx context.Context, entries []rueidis.XRangeEntry) error {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	_, err := m.call(ctx, m.Client.B().Xclaim().Key(m.key).Group(m.Name).Consumer(m.Consumer).MinIdleTime("0").
		Id(ids...).Justid().Build())
	return err
}
