package consume

import (
	"fmt"
	"time"
)

// Position is a point between two entries of the log. The zero value is
// [Beginning].
type Position struct {
	kind positionKind
	id   id
}

type positionKind int

const (
	atBeginning positionKind = iota
	atEnd
	afterID
	atTime
)

// Beginning is the point before the oldest entry that the log still holds.
func Beginning() Position { return Position{} }

// End is the point after the newest entry at the moment of the call that uses it.
func End() Position { return Position{kind: atEnd} }

// AfterID is the point after the entry with this stream id, as in
// "1700000000000-0": where to go on when that entry was handled last.
func AfterID(streamID string) (Position, error) {
	i, err := parseID(streamID)
	if err != nil {
		return Position{}, err
	}
	return Position{kind: afterID, id: i}, nil
}

// AtTime is the point before the first entry that was recorded at t or later, by
// the clock of Redis.
func AtTime(t time.Time) Position {
	return Position{kind: atTime, id: beforeMillis(uint64(max(0, t.UnixMilli())))}
}

// ParsePosition reads a position as people write it: "0" for [Beginning], "$" or
// "now" for [End], a stream id, a time in RFC 3339, or a duration such as "10m"
// for that long before now.
func ParsePosition(s string, now time.Time) (Position, error) {
	switch s {
	case "0", "0-0":
		return Beginning(), nil
	case "$", "now":
		return End(), nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return AtTime(now.Add(-d)), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return AtTime(t), nil
	}
	if p, err := AfterID(s); err == nil {
		return p, nil
	}
	return Position{}, fmt.Errorf("position %q: use 0 for the beginning, now for the end, a stream id such as "+
		"1700000000000-0, a duration such as 10m, or a time such as 2006-01-02T15:04:05Z", s)
}
