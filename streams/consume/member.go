package consume

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

//go:embed take.lua
var takeScript string

// leaveScript removes a consumer unless it holds entries, which would be lost with
// it.
const leaveScript = `
-- KEYS  1 stream
-- ARGV  1 group  2 consumer
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return 1`

// member is one consumer of a group at work.
type member struct {
	Group
	handle    Handler
	key       string
	transient bool // the consumer's name is ours to remove
	taking    *rueidis.Lua
	handled   *once
	refused   *event.Window // stream ids whose handler failed
	log       begin
	joined    bool      // the group has existed
	last      string    // last entry that was handled
	claimed   time.Time // when idle entries were last looked for
	lost      []string  // entries that were trimmed before they were handled, not told yet
}

func randomSuffix() string { return strconv.FormatUint(uint64(rand.Uint32()), 36) } //nolint:gosec // a name, not a secret

func (m *member) notice(err error) { m.OnNotice(err) }

// work takes and handles entries until ctx ends, for which it returns nil, or
// Redis fails. It calls ok when Redis has answered.
func (m *member) work(ctx context.Context, ok func()) error {
	if err := m.join(ctx); err != nil {
		return err
	}
	// After an error there may be entries whose delivery nobody saw; what another
	// process left behind is looked for at once.
	if err := m.takeOwn(ctx); err != nil {
		return err
	}
	m.claimed = time.Time{}
	for ctx.Err() == nil {
		if time.Since(m.claimed) >= m.ClaimIdle {
			if err := m.claim(ctx); err != nil {
				return err
			}
		}
		entries, gap, err := m.take(ctx)
		if err != nil {
			return err
		}
		ok()
		if gap != nil {
			m.notice(gap)
		} else if len(entries) == 0 {
			if entries, err = m.wait(ctx); err != nil {
				return err
			}
		}
		if err := m.handleAll(ctx, entries, nil); err != nil {
			return err
		}
	}
	return nil
}

// call runs one command that does not block.
func (m *member) call(ctx context.Context, cmd rueidis.Completed) (rueidis.RedisResult, error) {
	call, cancel := limited(ctx, answerLimit)
	defer cancel()
	r := m.Client.Do(call, cmd)
	if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
		return r, withCause(call, err)
	}
	return r, nil
}

// join makes the group unless it exists. The group lives in the stream, so when
// it has to be made a second time, the log went with it.
func (m *member) join(ctx context.Context) error {
	call, cancel := limited(ctx, answerLimit)
	defer cancel()
	info, err := parseInfo(m.Client.Do(call, xinfo(m.Client, m.key)))
	if err != nil {
		return withCause(call, err)
	}
	from := m.From
	if m.joined {
		from = Beginning()
	}
	start, read := from.id, int64(unknown)
	switch from.kind {
	case atBeginning:
		read = info.removed
	case atEnd:
		start, read = info.last, info.added()
	}
	args := []string{start.String(), "MKSTREAM"}
	// The count lets Redis tell later what was trimmed before the group read it.
	if read >= 0 {
		args = append(args, "ENTRIESREAD", strconv.FormatInt(read, 10))
	}
	_, err = m.call(ctx, m.Client.B().Arbitrary("XGROUP", "CREATE").Keys(m.key).Args(m.Name).Args(args...).Build())
	if e, ok := redisError(err); ok && e.IsBusyGroup() {
		err = nil
	} else if err == nil && m.joined {
		m.handled.newLog()
		m.notice(&GapError{Kind: Replaced, Key: m.key, After: m.last, Missed: unknown})
	}
	m.joined = m.joined || err == nil
	return err
}

// leave removes a consumer that will not come back, unless it holds entries: those
// are for others to claim.
func (m *member) leave(ctx context.Context) {
	if !m.transient {
		return
	}
	call, cancel := limited(context.WithoutCancel(ctx), answerLimit)
	defer cancel()
	// A consumer that stays is untidy and does no harm.
	_ = rueidis.NewLuaScript(leaveScript).Exec(call, m.Client, []string{m.key}, []string{m.Name, m.Consumer}).Error()
}

// hangUp makes the next commands dial. A Redis that was made a replica keeps its
// clients, and refuses what a group writes; whoever is at the address by now may
// be the new primary.
func (m *member) hangUp(ctx context.Context) {
	call, cancel := limited(ctx, answerLimit)
	defer cancel()
	// Commands that block have connections of their own. An error is no matter: the
	// next attempt tells how things are.
	_ = m.Client.Do(call, m.Client.B().Arbitrary("QUIT").Build()).Error()
	_ = m.Client.Do(call, m.Client.B().Arbitrary("QUIT").Blocking()).Error()
}

// take returns the next entries that nobody in the group has had, without waiting.
func (m *member) take(ctx context.Context) ([]rueidis.XRangeEntry, *GapError, error) {
	call, cancel := limited(ctx, answerLimit)
	defer cancel()
	reply, err := m.taking.Exec(call, m.Client, []string{m.key},
		[]string{m.Name, m.Consumer, strconv.Itoa(m.Batch)}).ToArray()
	if err != nil {
		return nil, nil, withCause(call, err)
	}
	if len(reply) < 4 {
		return nil, nil, fmt.Errorf("take: unexpected reply of %d parts", len(reply))
	}
	var said [4]string
	for i := range said {
		if said[i], err = reply[i].ToString(); err != nil {
			return nil, nil, fmt.Errorf("take: %w", err)
		}
	}
	var gap *GapError
	if said[0] != "" {
		missing, err := strconv.ParseInt(said[0], 10, 64)
		if err != nil {
			return nil, nil, fmt.Errorf("take: %w", err)
		}
		gap = &GapError{Kind: Trimmed, Key: m.key, After: said[1], Next: said[2], Missed: missing}
	}
	first, removed := id{}, int64(unknown)
	if said[2] != "" && said[3] != "" {
		if first, err = parseID(said[2]); err == nil {
			removed, err = strconv.ParseInt(said[3], 10, 64)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("take: %w", err)
		}
	}
	m.see(begin{first, removed})
	if len(reply) < 5 || reply[4].IsNil() {
		return nil, gap, nil
	}
	streams, err := reply[4].AsXRead()
	if err != nil {
		return nil, nil, fmt.Errorf("take: %w", err)
	}
	return streams[m.key], gap, nil
}

// wait waits for an entry. The group was at the end of the log a moment ago, so
// nothing can have been trimmed before it was read.
func (m *member) wait(ctx context.Context) ([]rueidis.XRangeEntry, error) {
	call, cancel := limited(ctx, readLimit(m.Block))
	defer cancel()
	cmd := m.Client.B().Xreadgroup().Group(m.Name, m.Consumer).Count(int64(m.Batch)).Block(m.Block.Milliseconds()).
		Streams().Key(m.key).Id(">").Build()
	entries, err := streamEntries(m.Client.Do(call, cmd), m.key)
	return entries, withCause(call, err)
}

// takeOwn handles what this consumer was given before and did not acknowledge.
//
// What its handler refused in this process is left to claim: the connection was
// lost, not the process, and nothing speaks for another try at once.
//
// Here and in claim entries are taken one at a time. Taking raises their count, and
// of more than one only the first is sure to meet the handler: should it kill its
// process again and again, the others would become poison unseen.
func (m *member) takeOwn(ctx context.Context) error {
	defer m.tellLost()
	for at := (id{}).String(); ctx.Err() == nil; {
		var more bool
		var err error
		if at, more, err = m.passRefused(ctx, at); err != nil || !more {
			return err
		}
		r, err := m.call(ctx, m.Client.B().Xreadgroup().Group(m.Name, m.Consumer).Count(1).
			Streams().Key(m.key).Id(at).Build())
		if err != nil {
			return err
		}
		entries, err := streamEntries(r, m.key)
		if err != nil || len(entries) == 0 {
			return err
		}
		at = entries[len(entries)-1].ID
		if err := m.handleOld(ctx, entries); err != nil {
			return err
		}
	}
	return nil
}

// passRefused moves at over what the handler refused, up to in front of the next
// entry that this consumer has to take, if there is one. Listing entries does not
// count as delivering them.
func (m *member) passRefused(ctx context.Context, at string) (before string, more bool, err error) {
	for {
		r, err := m.call(ctx, m.Client.B().Xpending().Key(m.key).Group(m.Name).Start("("+at).End("+").Count(100).
			Consumer(m.Consumer).Build())
		if err != nil {
			return at, false, err
		}
		rows, err := r.ToArray()
		if err != nil || len(rows) == 0 {
			return at, false, err
		}
		for _, row := range rows {
			columns, err := row.ToArray()
			if err != nil {
				return at, false, fmt.Errorf("xpending: %w", err)
			}
			if len(columns) != 4 {
				return at, false, fmt.Errorf("xpending: unexpected row of %d columns", len(columns))
			}
			own, err := columns[0].ToString()
			if err != nil {
				return at, false, fmt.Errorf("xpending: %w", err)
			}
			if !m.refused.Has(own) {
				return at, true, nil
			}
			at = own
		}
	}
}

// claim handles what a consumer was given and did not acknowledge in time.
func (m *member) claim(ctx context.Context) error {
	m.claimed = time.Now()
	defer m.tellLost()
	for at := (id{}).String(); ctx.Err() == nil; {
		r, err := m.call(ctx, m.Client.B().Xautoclaim().Key(m.key).Group(m.Name).Consumer(m.Consumer).
			MinIdleTime(strconv.FormatInt(m.ClaimIdle.Milliseconds(), 10)).Start(at).Count(1).Build())
		if err != nil {
			return err
		}
		reply, err := r.ToArray()
		if err != nil {
			return fmt.Errorf("xautoclaim: %w", err)
		}
		if len(reply) < 2 {
			return fmt.Errorf("xautoclaim: unexpected reply of %d parts", len(reply))
		}
		if at, err = reply[0].ToString(); err != nil {
			return fmt.Errorf("xautoclaim: %w", err)
		}
		entries, err := reply[1].AsXRange()
		if err != nil {
			return fmt.Errorf("xautoclaim: %w", err)
		}
		// The group has let go of those that were trimmed already.
		if len(reply) > 2 {
			gone, err := reply[2].AsStrSlice()
			if err != nil {
				return fmt.Errorf("xautoclaim: %w", err)
			}
			m.lost = append(m.lost, gone...)
		}
		if err := m.handleOld(ctx, entries); err != nil {
			return err
		}
		if at == (id{}).String() {
			return nil
		}
	}
	return nil
}

// handleOld handles entries that were delivered before.
func (m *member) handleOld(ctx context.Context, entries []rueidis.XRangeEntry) error {
	var there []rueidis.XRangeEntry
	var drop []string
	for _, e := range entries {
		if e.FieldValues == nil {
			drop = append(drop, e.ID)
		} else {
			there = append(there, e)
		}
	}
	if err := m.ack(ctx, drop); err != nil {
		return err
	}
	m.lost = append(m.lost, drop...)
	if len(there) == 0 {
		return nil
	}
	m.tellLost()
	times, err := m.deliveries(ctx, there)
	if err != nil {
		return err
	}
	there = slices.DeleteFunc(there, func(e rueidis.XRangeEntry) bool { return times[e.ID] == 0 })
	return m.handleAll(ctx, there, times)
}

// tellLost tells of trimmed entries that follow each other in one notice.
func (m *member) tellLost() {
	if len(m.lost) > 0 {
		m.notice(&GapError{Kind: Trimmed, Key: m.key, After: m.lost[0], Missed: int64(len(m.lost))})
	}
	m.lost = nil
}

// deliveries asks how often entries of this consumer were delivered.
func (m *member) deliveries(ctx context.Context, entries []rueidis.XRangeEntry) (map[string]int64, error) {
	call, cancel := limited(ctx, answerLimit)
	defer cancel()
	cmds := make(rueidis.Commands, len(entries))
	for i, e := range entries {
		cmds[i] = m.Client.B().Xpending().Key(m.key).Group(m.Name).Start(e.ID).End(e.ID).Count(1).Consumer(m.Consumer).Build()
	}
	times := make(map[string]int64, len(entries))
	for i, r := range m.Client.DoMulti(call, cmds...) {
		rows, err := r.ToArray()
		if err != nil {
			return nil, withCause(call, err)
		}
		if len(rows) == 0 {
			continue // somebody else has it by now
		}
		row, err := rows[0].ToArray()
		if err != nil {
			return nil, fmt.Errorf("xpending: %w", err)
		}
		if len(row) != 4 {
			return nil, fmt.Errorf("xpending: unexpected row of %d columns", len(row))
		}
		if times[entries[i].ID], err = row[3].AsInt64(); err != nil {
			return nil, fmt.Errorf("xpending: %w", err)
		}
	}
	return times, nil
}
