package load_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

const (
	bulkSize  = 1 << 20 // bytes of a message
	bulkConns = 8
)

// benchBulk measures large messages: screenshots, traces and videos on their
// way down, uploads on their way up.
func benchBulk(t *testing.T) {
	r := newRig(t)
	port := r.standIn(1, 10*bulkConns)
	targets := []target{r.proxy(), r.haproxy(loopback(port))}
	bulk(t, targets, func(to target) []*ws.Conn { return connectAll(t, to.address, bulkConns) }, "bulk", "Bulk",
		row{"MB/s", "%.0f", "≥ 2.0"}, row{"CPU-s per GB", "%.3f", "≤ 0.5"})
}

func bulk(tb testing.TB, targets []target, open func(target) []*ws.Conn, name, title string, rows ...row) {
	tb.Helper()
	conns := map[string][]*ws.Conn{}
	for _, t := range targets {
		conns[t.name] = open(t)
		defer leaveAll(tb, conns[t.name])
	}
	for _, way := range []struct {
		name, title string
		run         func(c *ws.Conn, end time.Time) (bytes int, err error)
	}{
		{"down", "worker to client", download},
		{"up", "client to worker", upload},
	} {
		for _, t := range targets {
			transfer(tb, conns[t.name], 500*time.Millisecond, way.run)
		}
		medians := alternate(tb, targets, func(t target) figures {
			before := t.cpu(tb)
			n, took := transfer(tb, conns[t.name], roundTime(tb), way.run)
			cpu := t.cpu(tb) - before
			return figures{"MB/s": n / 1e6 / took.Seconds(), "CPU-s per GB": cpu.Seconds() / n * 1e9}
		})
		table(title+", "+way.title+": 1 MiB messages, 8 connections", targets, medians, rows...)
		profile(tb, name+"-"+way.name, targets[0], func(during time.Duration) { transfer(tb, conns[targets[0].name], during, way.run) })
	}
}

// transfer moves bytes on all connections for a while, and at least some; it is over when the last
// byte has arrived.
func transfer(tb testing.TB, conns []*ws.Conn, during time.Duration, run func(*ws.Conn, time.Time) (int, error)) (n float64, took time.Duration) {
	tb.Helper()
	counts, errs := make([]int, len(conns)), make([]error, len(conns))
	begin := time.Now()
	var all sync.WaitGroup
	for i, c := range conns {
		all.Go(func() { counts[i], errs[i] = run(c, begin.Add(during)) })
	}
	all.Wait()
	took = time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		tb.Fatal(err)
	}
	for _, c := range counts {
		n += float64(c)
	}
	return n, took
}

// download has the stand-in send messages, always some more than are read.
func download(c *ws.Conn, end time.Time) (n int, err error) {
	const batch = 16
	ask := ws.AppendMasked(nil, ws.Text, fmt.Appendf(nil, "send %d %d", batch, bulkSize))
	scratch := make([]byte, 256<<10)
	due := 0
	more := func() bool { return n+due == 0 || time.Now().Before(end) }
	for due > 0 || more() {
		if due <= batch && more() {
			if _, err := c.Write(ask); err != nil {
				return n, err
			}
			due += batch
			continue
		}
		h, err := next(c)
		if err != nil {
			return n, err
		}
		if h.Op != ws.Binary || h.Size != bulkSize {
			return n, fmt.Errorf("a message of %d bytes, opcode %d, where %d bytes were due", h.Size, h.Op, bulkSize)
		}
		if err := c.Skip(h.Size, scratch); err != nil {
			return n, err
		}
		n += h.Size
		due--
	}
	return n, nil
}

var bulkMessage = sync.OnceValue(func() []byte {
	return ws.AppendMasked(nil, ws.Binary, bytes.Repeat([]byte("bulk"), bulkSize/4))
})

// upload sends messages and asks at the end how much has arrived.
func upload(c *ws.Conn, end time.Time) (n int, err error) {
	before, err := swallowed(c)
	if err != nil {
		return 0, err
	}
	for n == 0 || time.Now().Before(end) {
		if _, err := c.Write(bulkMessage()); err != nil {
			return n, err
		}
		n += bulkSize
	}
	after, err := swallowed(c)
	if err == nil && after-before != n {
		err = fmt.Errorf("of %d bytes %d arrived", n, after-before)
	}
	return n, err
}

func swallowed(c *ws.Conn) (int, error) {
	if _, err := c.Write(ws.AppendMasked(nil, ws.Text, []byte("count"))); err != nil {
		return 0, err
	}
	h, err := next(c)
	if err != nil {
		return 0, err
	}
	b := make([]byte, h.Size)
	if err := c.Take(h, b); err != nil {
		return 0, err
	}
	return strconv.Atoi(string(b))
}
