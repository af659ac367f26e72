package consume

// unknown is the index of a cursor that does not know it.
const unknown = -1

// cursor is how far a reader has come, with what it takes to notice that entries
// behind that point have gone before they were read.
//
// A trimmed log alone does not tell: on a quiet pool everything the reader has
// read goes with age, and nothing is missing. So the cursor counts. Redis knows
// how many entries it has ever added and how many are left; the cursor knows the
// index of its own entry in that count.
type cursor struct {
	key   string
	pos   id
	index int64 // entries ever added up to and including pos, or unknown
	kind  positionKind
	first id   // oldest entry at the last look
	last  id   // newest entry when the reading began
	read  bool // pos is an entry that was read
}

func newCursor(key string, from Position, info logInfo) cursor {
	c := cursor{key: key, pos: from.id, index: unknown, kind: from.kind, first: info.first, last: info.last}
	switch from.kind {
	case atEnd:
		c.pos, c.index = info.last, info.added()
		c.kind = afterID
	case atBeginning:
		c.index = info.removed
	}
	return c
}

// look compares the cursor with the log and returns nil when all that follows the
// cursor is still there. Otherwise it moves the cursor over what is missing.
//
// Trimming goes one way, so a look that is taken after a read and finds nothing
// missing vouches for that read.
func (c *cursor) look(info logInfo) *GapError {
	before := c.first
	c.first = info.first
	known := c.index != unknown && info.removed >= 0
	switch {
	case c.fresh():
		c.index = info.removed
		return nil
	case info.last.before(c.pos) && c.kind != atTime, known && info.added() < c.index:
		// Redis holds less than the cursor has seen. A log that still begins where
		// it began has lost its last entries; any other is taken for a new one,
		// because reading something twice is better than passing over it.
		if info.length > 0 && info.first == before {
			return c.rollBack(info)
		}
		return c.restart(Replaced, info)
	case !c.pos.before(info.last):
		return nil // nothing follows
	case info.length > 0 && !c.pos.before(info.first):
		return nil // an entry up to the cursor is there, so all that follow are
	case known && info.removed == c.index:
		return nil // gone up to the cursor and no further
	case known && info.removed > c.index:
		gap := c.gap(Trimmed, info, info.removed-c.index)
		c.index = info.removed
		return gap
	case known, c.kind == afterID && info.removed == 0:
		// Nothing behind the cursor was removed, yet the entry at the cursor is
		// not there.
		return c.restart(Replaced, info)
	case info.removed == 0:
		return nil // the log begins later than the time that was asked for
	}
	return c.restart(Trimmed, info)
}

// restart goes on with whatever the log holds.
func (c *cursor) restart(kind GapKind, info logInfo) *GapError {
	gap := c.gap(kind, info, unknown)
	c.pos, c.index, c.kind, c.read = id{}, unknown, atBeginning, false
	return gap
}

func (c *cursor) rollBack(info logInfo) *GapError {
	gap := c.gap(RolledBack, info, unknown)
	c.index = unknown
	if info.last.before(c.pos) {
		c.pos, c.index = info.last, info.added()
	}
	c.read = false
	return gap
}

// recheck is for a Redis that may have failed over. next is the entry that it
// has at the cursor or behind it. A log that lost its end and has grown as long
// again counts as if nothing had been, but lacks the entry at the cursor.
func (c *cursor) recheck(next id, info logInfo) *GapError {
	if info.removed < 0 || info.length == 0 || c.pos.before(info.first) || info.last.before(c.pos) || next == c.pos {
		return nil // it is there, or was trimmed, or look tells more
	}
	return c.rollBack(info)
}

// fresh tells whether everything that the log still holds is wanted.
func (c *cursor) fresh() bool { return c.kind == atBeginning && c.pos == (id{}) }

func (c *cursor) gap(kind GapKind, info logInfo, missed int64) *GapError {
	g := &GapError{Kind: kind, Key: c.key, After: c.pos.String(), Missed: missed}
	if info.length > 0 {
		g.Next = info.first.String()
	}
	return g
}

// advance moves the cursor over n entries that were read, the last of which is
// at last. info is from after they were read.
func (c *cursor) advance(first, last id, n int64, info logInfo) {
	switch {
	case info.removed < 0:
		c.index = unknown
	case last == info.last:
		c.index = info.added()
	case first == info.first:
		c.index = info.removed + n
	case c.index != unknown:
		c.index += n
	}
	c.pos, c.kind, c.read = last, afterID, true
}
