package load_test

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// What `make bench-connections` sets: how long the sessions are held, such as 10m.
const variableDuration = "DURATION"

const (
	// mostSessions of one proxy, if its descriptors allow so many: two for each.
	mostSessions = 9500
	// spareFiles are the descriptors that a process needs for anything else.
	spareFiles = 1000
	// pairSessions go over two proxies. The load generator has one descriptor for each.
	pairSessions = 15_000
	holdGap      = 10 * time.Second // between two messages of a session
)

// TestConnections holds as many sessions as the descriptors of one process
// allow, with traffic, and loses none; then more than that over two proxies.
func TestConnections(t *testing.T) {
	text := os.Getenv(variableDuration)
	if text == "" {
		t.Skip("holds many sessions only by make bench-connections")
	}
	during, err := time.ParseDuration(text)
	require.NoError(t, err)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	files := int(min(limit.Max, 1<<20))
	t.Logf("at most %d descriptors in one process", files)

	t.Run("one proxy", func(t *testing.T) {
		holdOver(t, 1, min(mostSessions, (files-spareFiles)/2), during)
	})
	t.Run("two proxies", func(t *testing.T) {
		holdOver(t, 2, min(pairSessions, files-spareFiles), during)
	})
}

func holdOver(t *testing.T, count, sessions int, during time.Duration) {
	t.Helper()
	r := newRig(t)
	// Two, because the descriptors of a stand-in are limited as well.
	for range 2 {
		r.standIn(10, (sessions/2+100)/10+1)
	}
	var proxies []target
	for range count {
		proxies = append(proxies, r.proxy())
	}
	begin := time.Now()
	var conns []*ws.Conn
	for i, p := range proxies {
		conns = append(conns, connectAll(t, p.address, (sessions+i)/count)...)
	}
	fmt.Printf("%d sessions over %d proxies, opened in %.1f s; held for %s\n", len(conns), count, time.Since(begin).Seconds(), during)

	before := make([]time.Duration, count)
	for i, p := range proxies {
		before[i] = p.cpu(t)
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-time.After(during / 2):
		case <-t.Context().Done():
			return
		}
		for i, p := range proxies {
			fmt.Printf("  proxy %d half way: %d descriptors, %.1f MiB, %.1f %% of a core\n", i+1, p.files(t), p.pss(t)/(1<<20),
				(p.cpu(t)-before[i]).Seconds()/during.Seconds()*200)
		}
	})
	got := hold(t, conns, during, holdGap)
	watch.Wait()
	fmt.Printf("  %d messages went and came back, %d lost, %d sessions dropped\n", got.messages, got.lost, len(got.dropped))
	if err := got.err(); err != nil {
		t.Error(err)
	}
	for i, p := range proxies {
		p.settle(t)
		fmt.Printf("  proxy %d afterwards: %d descriptors\n", i+1, p.files(t))
	}
}
