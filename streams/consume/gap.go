package consume

import (
	"fmt"

	"github.com/redis/rueidis"
)

// GapKind says how entries came to be missing.
type GapKind int

const (
	// Trimmed says that the reader was slower, or away for longer, than the log is
	// kept.
	Trimmed GapKind = iota
	// Replaced says that Redis lost the log and a new one has begun. It starts with
	// a pool.reset event.
	Replaced
	// RolledBack says that Redis lost the last entries in a failover and goes on
	// from an earlier one. What was lost is recorded again as far as anybody knows
	// of it. A state that was folded from lost events can be wrong, so fold anew,
	// from the oldest entry.
	RolledBack
)

func (k GapKind) String() string {
	switch k {
	case Replaced:
		return "replaced"
	case RolledBack:
		return "rolled back"
	}
	return "trimmed"
}

// GapError says that entries between two that the reader got are missing. The
// reading goes on behind the gap.
type GapError struct {
	Kind GapKind
	// Key is the stream.
	Key string
	// After is the stream id where the reader was.
	After string
	// Next is the oldest entry that the log holds now; empty when it holds none.
	Next string
	// Missed is how many entries are missing, or -1 when nobody can tell; then it
	// can also be none.
	Missed int64
}

func (e *GapError) Error() string {
	switch e.Kind {
	case Replaced:
		return fmt.Sprintf("gap in %s: redis lost the log that held %s and a new one has begun", e.Key, e.After)
	case RolledBack:
		return fmt.Sprintf("gap in %s: redis lost its last entries, up to %s, and goes on from an earlier one", e.Key, e.After)
	}
	if e.Missed < 0 {
		return fmt.Sprintf("gap in %s: the log was trimmed past %s, entries may be missing", e.Key, e.After)
	}
	return fmt.Sprintf("gap in %s: the log was trimmed past %s, %d entries are missing", e.Key, e.After, e.Missed)
}

// logInfo is what XINFO STREAM says of the log.
type logInfo struct {
	length int64
	// removed counts the entries that were ever added and are no longer there;
	// -1 when Redis cannot tell (before 7.0, or when somebody deleted entries).
	removed int64
	first   id // oldest entry; zero when there is none
	last    id // newest entry ever
}

func (i *logInfo) added() int64 {
	if i.removed < 0 {
		return -1
	}
	return i.removed + i.length
}

// noSuchKey is how XINFO answers for a stream that does not exist; rueidis takes
// the leading ERR off.
const noSuchKey = "no such key"

// xinfo is put together by hand for the same reason as xread.
func xinfo(client rueidis.Client, key string) rueidis.Completed {
	return client.B().Arbitrary("XINFO", "STREAM").Keys(key).Build()
}

func parseInfo(r rueidis.RedisResult) (logInfo, error) {
	info := logInfo{}
	m, err := r.AsMap()
	if err != nil {
		if e, ok := redisError(err); ok && e.Error() == noSuchKey {
			return info, nil
		}
		return info, err
	}
	if info.length, err = integer(m, "length"); err != nil {
		return info, err
	}
	if info.last, err = streamID(m, "last-generated-id"); err != nil {
		return info, err
	}
	if info.length > 0 {
		first, err := firstEntry(m)
		if err != nil {
			return info, err
		}
		info.first = first
	}
	info.removed = -1
	if _, counts := m["entries-added"]; counts {
		added, err := integer(m, "entries-added")
		if err != nil {
			return info, err
		}
		deleted, err := streamID(m, "max-deleted-entry-id")
		if err != nil {
			return info, err
		}
		if deleted == (id{}) {
			info.removed = added - info.length
		}
	}
	return info, nil
}

func integer(m map[string]rueidis.RedisMessage, name string) (int64, error) {
	v := m[name]
	n, err := v.AsInt64()
	if err != nil {
		return 0, fmt.Errorf("xinfo: %s: %w", name, err)
	}
	return n, nil
}

func streamID(m map[string]rueidis.RedisMessage, name string) (id, error) {
	v := m[name]
	s, err := v.ToString()
	if err != nil {
		return id{}, fmt.Errorf("xinfo: %s: %w", name, err)
	}
	return parseID(s)
}

func firstEntry(m map[string]rueidis.RedisMessage) (id, error) {
	v := m["first-entry"]
	e, err := v.AsXRangeEntry()
	if err != nil {
		return id{}, fmt.Errorf("xinfo: first-entry: %w", err)
	}
	return parseID(e.ID)
}
