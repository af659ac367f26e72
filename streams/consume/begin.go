package consume

import (
	"context"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// begin is where a log begins.
type begin struct {
	first   id    // oldest entry; zero when there is none
	removed int64 // entries before it, or unknown
}

func (i *logInfo) begin() begin { return begin{i.first, i.removed} }

// see notices that the log is another one than when it was last seen: the oldest
// entry of a log becomes a later one only by being removed. A log that lost its
// end in a failover begins where it began, or before.
//
// The pool.reset that opens a log goes to one member of the group, and a member
// that was busy while another one made the group again has no error to go by.
func (m *member) see(b begin) {
	if b.first == (id{}) || b.removed == unknown {
		return
	}
	if m.log.first != (id{}) && m.log.first.before(b.first) && b.removed <= m.log.removed {
		m.handled.newLog()
	}
	m.log = b
}

// announced tells whether an event that was handled before is told by a new log
// of what lives on. A blocking read may have gone from one log to the other
// without a word, so it asks.
func (m *member) announced(ctx context.Context, e event.Event) (bool, error) {
	if isEnd(e) {
		return false, nil
	}
	r, err := m.call(ctx, xinfo(m.Client, m.key))
	if err == nil {
		var info logInfo
		if info, err = parseInfo(r); err == nil {
			m.see(info.begin())
		}
	}
	return !m.handled.has(e), err
}
