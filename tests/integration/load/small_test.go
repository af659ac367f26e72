package load_test

import (
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

const (
	smallSize  = 200 // bytes of a message
	smallConns = 64
)

// benchSmall measures round trips of small messages: what a click, a locator or
// an evaluate costs on its way.
func benchSmall(t *testing.T) {
	r := newRig(t)
	port := r.standIn(1, 10*smallConns)
	targets := []target{r.proxy(), r.haproxy(loopback(port))}
	medians := smallFigures(t, targets, func(to target) []*ws.Conn { return connectAll(t, to.address, smallConns) }, "small")
	table("Small round trips: 200 bytes, 64 connections", targets, medians,
		row{"round trips/s", "%.0f", ""}, row{"p50 µs", "%.0f", ""}, row{"p99 µs", "%.0f", ""},
		row{"CPU-s per million round trips", "%.2f", "≤ 1.0"})
}

// smallFigures measures round trips through targets, the first of which is ours.
func smallFigures(tb testing.TB, targets []target, open func(target) []*ws.Conn, name string) []figures {
	tb.Helper()
	conns := map[string][]*ws.Conn{}
	for _, t := range targets {
		conns[t.name] = open(t)
		defer leaveAll(tb, conns[t.name])
		roundTrips(tb, conns[t.name], smallSize, time.Second)
	}
	medians := alternate(tb, targets, func(t target) figures {
		before := t.cpu(tb)
		got := roundTrips(tb, conns[t.name], smallSize, roundTime(tb))
		cpu := t.cpu(tb) - before
		return figures{
			"round trips/s":                 got.perSecond(),
			"p50 µs":                        float64(quantile(got.latency, 0.5).Microseconds()),
			"p99 µs":                        float64(quantile(got.latency, 0.99).Microseconds()),
			"CPU-s per million round trips": cpu.Seconds() / float64(got.count) * 1e6,
		}
	})
	profile(tb, name, targets[0], func(during time.Duration) { roundTrips(tb, conns[targets[0].name], smallSize, during) })
	return medians
}
