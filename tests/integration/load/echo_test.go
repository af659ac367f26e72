package load_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// trips is what a load of round trips brought.
type trips struct {
	count   int
	took    time.Duration
	latency []time.Duration // sorted
}

func (t trips) perSecond() float64 { return float64(t.count) / t.took.Seconds() }

// roundTrips sends messages on all sessions at once, each the next one when the
// last has come back, for a while and at least once, and compares what comes back.
func roundTrips(tb testing.TB, conns []*ws.Conn, size int, during time.Duration) trips {
	tb.Helper()
	payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	message := ws.AppendMasked(nil, ws.Binary, payload)
	latency := make([][]time.Duration, len(conns))
	errs := make([]error, len(conns))
	begin := time.Now()
	end := begin.Add(during)
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() { latency[i], errs[i] = echo(c, message, payload, end) })
	}
	all.Wait()
	t := trips{took: time.Since(begin), latency: slices.Concat(latency...)}
	t.count = len(t.latency)
	slices.Sort(t.latency)
	for _, err := range errs {
		if err != nil {
			tb.Fatal(err)
		}
	}
	return t
}

func echo(c *ws.Conn, message, payload []byte, end time.Time) ([]time.Duration, error) {
	var latency []time.Duration
	got := make([]byte, len(payload))
	for now := time.Now(); len(latency) == 0 || now.Before(end); {
		if _, err := c.Write(message); err != nil {
			return latency, err
		}
		h, err := next(c)
		if err != nil {
			return latency, err
		}
		if h.Size != len(got) {
			return latency, fmt.Errorf("a message of %d bytes came back with %d, opcode %d", len(got), h.Size, h.Op)
		}
		if err := c.Take(h, got); err != nil {
			return latency, err
		}
		if !bytes.Equal(got, payload) {
			return latency, fmt.Errorf("a message came back changed")
		}
		then := time.Now()
		latency = append(latency, then.Sub(now))
		now = then
	}
	return latency, nil
}

// quantile of sorted durations.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
