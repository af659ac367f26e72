package app

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// memoryWatch has the worker retire when its browser holds more than a limit.
// It looks when a heartbeat is due and has no clock of its own: the kernel
// tells of the memory of a whole container, and only when it is about to be
// used up, so there is no event to wait for.
type memoryWatch struct {
	limit   int64 // bytes
	measure func(enough int64) int64
	retire  func(reason string)
	log     *zap.Logger

	due  chan struct{}
	quit chan struct{}
	done chan struct{}
}

func newMemoryWatch(limit int64, measure func(int64) int64, retire func(string), log *zap.Logger) *memoryWatch {
	return &memoryWatch{
		limit: limit, measure: measure, retire: retire, log: log,
		due: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// look has the memory measured, soon. It does not block.
func (m *memoryWatch) look() {
	if m.limit == 0 {
		return
	}
	select {
	case m.due <- struct{}{}:
	default:
	}
}

func (m *memoryWatch) start(context.Context) error {
	go m.run()
	return nil
}

func (m *memoryWatch) stop(context.Context) error {
	close(m.quit)
	<-m.done
	return nil
}

// run returns when the limit has been passed once: a worker retires only once.
func (m *memoryWatch) run() {
	defer close(m.done)
	for {
		select {
		case <-m.quit:
			return
		case <-m.due:
		}
		if held := m.measure(m.limit); held > m.limit {
			m.log.Warn("the browser holds more memory than browser.memory_limit: the worker makes room for a fresh one",
				zap.Int64("bytes", held), zap.Int64("limit", m.limit))
			m.retire(state.RetireMemory)
			return
		}
	}
}

// parseBytes reads a size such as 1500MB, 2GiB or 1.5G; a plain number is bytes.
func parseBytes(s string) (int64, error) {
	s = strings.TrimSpace(s)
	at := strings.IndexFunc(s, unicode.IsLetter)
	number, unit := s, ""
	if at >= 0 {
		number, unit = strings.TrimSpace(s[:at]), strings.ToLower(s[at:])
	}
	times, ok := map[string]float64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9,
		"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
	}[unit]
	n, err := strconv.ParseFloat(number, 64)
	if n *= times; !ok || err != nil || n < 0 || n > math.MaxInt64/2 || n != n {
		return 0, fmt.Errorf("it must be a size such as 1500MB or 2GiB, not %q (0 = off)", s)
	}
	return int64(n), nil
}
