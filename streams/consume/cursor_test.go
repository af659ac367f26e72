package consume

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// logged is the log after it held entries 1..added, of which the first removed
// are gone; entry n has the id n-0.
func logged(added, removed uint64) logInfo {
	i := logInfo{length: int64(added - removed), removed: int64(removed), last: id{added, 0}}
	if added > removed {
		i.first = id{removed + 1, 0}
	}
	return i
}

// without is a log of a Redis that does not count.
func without(i logInfo) logInfo {
	i.removed = -1
	return i
}

func after(n uint64) Position { return Position{kind: afterID, id: id{n, 0}} }

func TestCursorLook(t *testing.T) {
	// read is a cursor that started at the beginning of a log and has read n of it.
	read := func(n uint64, info logInfo) cursor {
		c := newCursor("k", Beginning(), info)
		c.advance(info.first, id{n, 0}, int64(n)-info.removed, info)
		return c
	}
	type want struct {
		kind   GapKind
		missed int64
	}
	for _, c := range []struct {
		name string
		cur  cursor
		info logInfo
		want *want
	}{
		{"nothing happened", read(5, logged(10, 0)), logged(10, 0), nil},
		{"trimmed before the cursor", read(5, logged(10, 0)), logged(10, 3), nil},
		{"trimmed up to the cursor", read(5, logged(10, 0)), logged(10, 5), nil},
		{"trimmed past the cursor", read(5, logged(10, 0)), logged(10, 7), &want{Trimmed, 2}},
		{"trimmed to nothing", read(5, logged(10, 0)), logged(10, 10), &want{Trimmed, 5}},
		{"trimmed to nothing after all was read", read(10, logged(10, 0)), logged(10, 10), nil},
		{"trimmed with age, then written", read(10, logged(10, 0)), logged(14, 10), nil},
		{"trimmed past a counting cursor", read(7, logged(10, 2)), logged(30, 20), &want{Trimmed, 13}},

		{"beginning of a trimmed log", newCursor("k", Beginning(), logged(10, 7)), logged(20, 15), nil},
		{"beginning of an empty log", newCursor("k", Beginning(), logged(0, 0)), logged(20, 15), nil},
		{"end of a log", newCursor("k", End(), logged(10, 7)), logged(12, 10), nil},
		{"end of a log, overtaken", newCursor("k", End(), logged(10, 7)), logged(20, 15), &want{Trimmed, 5}},
		{"end of an empty log", newCursor("k", End(), logged(0, 0)), logged(12, 0), nil},
		{"end of an empty log, overtaken", newCursor("k", End(), logged(0, 0)), logged(12, 4), &want{Trimmed, 4}},

		{"id that is there", newCursor("k", after(8), logged(10, 7)), logged(10, 7), nil},
		{"id of the last entry", newCursor("k", after(10), logged(10, 10)), logged(10, 10), nil},
		{"id that was trimmed", newCursor("k", after(3), logged(10, 7)), logged(10, 7), &want{Trimmed, -1}},
		{"id of another log", newCursor("k", Position{kind: afterID, id: id{0, 7}}, logged(10, 0)), logged(10, 0), &want{Replaced, -1}},
		{"id that is yet to come", newCursor("k", after(15), logged(10, 2)), logged(10, 2), &want{RolledBack, -1}},

		{"time within the log", newCursor("k", Position{kind: atTime, id: id{8, 9}}, logged(10, 7)), logged(10, 7), nil},
		{"time before a log that was never trimmed", newCursor("k", Position{kind: atTime, id: id{0, 9}}, logged(10, 0)), logged(10, 0), nil},
		{"time before a trimmed log", newCursor("k", Position{kind: atTime, id: id{0, 9}}, logged(10, 7)), logged(10, 7), &want{Trimmed, -1}},
		{"time to come", newCursor("k", Position{kind: atTime, id: id{99, 0}}, logged(10, 7)), logged(10, 7), nil},

		{"emptied", read(5, logged(10, 0)), logged(0, 0), &want{Replaced, -1}},
		{"emptied and begun anew behind the cursor", read(5, logged(10, 0)),
			logInfo{length: 3, first: id{20, 0}, last: id{22, 0}}, &want{Replaced, -1}},
		{"emptied and grown beyond what it held", read(5, logged(10, 0)),
			logInfo{length: 300, first: id{20, 0}, last: id{322, 0}}, &want{Replaced, -1}},
		{"begun anew with the clock set back", read(50, logged(50, 20)),
			logInfo{length: 3, first: id{30, 0}, last: id{32, 0}}, &want{Replaced, -1}},
		{"failed over", read(10, logged(10, 3)), logged(8, 3), &want{RolledBack, -1}},
		{"failed over and written since", read(10, logged(10, 3)),
			logInfo{length: 6, removed: 3, first: id{4, 0}, last: id{12, 0}}, &want{RolledBack, -1}},

		{"not counted, still there", read(5, without(logged(10, 0))), without(logged(10, 4)), nil},
		{"not counted, nothing follows", read(10, without(logged(10, 0))), without(logged(10, 10)), nil},
		{"not counted, trimmed", read(5, without(logged(10, 0))), without(logged(10, 5)), &want{Trimmed, -1}},
		{"not counted, from the beginning", newCursor("k", Beginning(), without(logged(10, 5))), without(logged(10, 5)), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cur := c.cur
			at := cur.pos
			gap := cur.look(c.info)
			if c.want == nil {
				require.Nil(t, gap)
				require.Equal(t, at, cur.pos)
				return
			}
			require.NotNil(t, gap)
			require.Equal(t, *c.want, want{gap.Kind, gap.Missed})
			require.Equal(t, at.String(), gap.After)
			require.Contains(t, gap.Error(), at.String())
			require.Nil(t, cur.look(c.info), "a gap is told once")
		})
	}
}

func TestCursorAdvance(t *testing.T) {
	for _, c := range []struct {
		name        string
		cur         cursor
		first, last uint64
		info        logInfo
		want        int64
	}{
		{"from the oldest entry", newCursor("k", after(3), logged(10, 3)), 4, 6, logged(10, 3), 6},
		{"to the newest entry", newCursor("k", after(7), logged(10, 3)), 8, 10, logged(10, 3), 10},
		{"in the middle, not knowing", newCursor("k", after(5), logged(10, 3)), 6, 8, logged(10, 3), unknown},
		{"in the middle, knowing", cursor{index: 5, kind: afterID, pos: id{5, 0}}, 6, 8, logged(10, 3), 8},
		{"not counted", cursor{index: 5, kind: afterID, pos: id{5, 0}}, 6, 8, without(logged(10, 3)), unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cur.advance(id{c.first, 0}, id{c.last, 0}, int64(c.last-c.first+1), c.info)
			require.Equal(t, c.want, c.cur.index)
			require.Equal(t, id{c.last, 0}, c.cur.pos)
		})
	}
}

func TestCursorRecheck(t *testing.T) {
	for _, c := range []struct {
		name string
		next uint64
		info logInfo
		told bool
	}{
		{"there", 5, logged(10, 3), false},
		{"lost", 7, logged(10, 3), true},
		{"trimmed", 7, logged(10, 6), false},
		{"emptied", 0, logged(10, 10), false},
		{"shorter", 0, logged(4, 3), false},
		{"not counted, so it can have been deleted", 7, without(logged(10, 3)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cur := newCursor("k", after(3), logged(10, 3))
			cur.advance(id{4, 0}, id{5, 0}, 2, logged(10, 3))
			gap := cur.recheck(id{c.next, 0}, c.info)
			require.Equal(t, c.told, gap != nil)
			require.Equal(t, !c.told, cur.read, "told once")
			require.Equal(t, id{5, 0}, cur.pos)
			if c.told {
				require.Equal(t, RolledBack, gap.Kind)
			}
		})
	}
}
