package consume

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// id is the place of an entry in a stream.
type id struct{ ms, seq uint64 }

func parseID(s string) (id, error) {
	left, right, hasSeq := strings.Cut(s, "-")
	ms, err := strconv.ParseUint(left, 10, 64)
	if err != nil {
		return id{}, fmt.Errorf("%q is not a stream id", s)
	}
	var seq uint64
	if hasSeq {
		if seq, err = strconv.ParseUint(right, 10, 64); err != nil {
			return id{}, fmt.Errorf("%q is not a stream id", s)
		}
	}
	return id{ms, seq}, nil
}

func (i id) String() string {
	return strconv.FormatUint(i.ms, 10) + "-" + strconv.FormatUint(i.seq, 10)
}

func (i id) compare(j id) int {
	return cmp.Or(cmp.Compare(i.ms, j.ms), cmp.Compare(i.seq, j.seq))
}

func (i id) before(j id) bool { return i.compare(j) < 0 }

// previous is the last place in front of i.
func (i id) previous() id {
	if i.seq == 0 {
		return beforeMillis(i.ms)
	}
	return id{i.ms, i.seq - 1}
}

// beforeMillis is the last place in front of the moment ms.
func beforeMillis(ms uint64) id {
	if ms == 0 {
		return id{}
	}
	return id{ms - 1, math.MaxUint64}
}
