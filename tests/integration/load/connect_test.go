package load_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
)

// connectsPerRound is how often each way is taken for one round.
const connectsPerRound = 100

// benchConnect measures how long a client of Playwright's takes to connect, and
// what of that are the parts that the pool adds.
func benchConnect(t *testing.T) {
	w := newWays(t)
	redis := w.client()
	w.connects(t, 1) // the proxy has to be known to the worker first

	before := w.spent(t, redis)
	began := time.Now()
	got := w.connects(t, connectsPerRound*rounds(t))
	spent, took := w.spent(t, redis), time.Since(began)
	base := got[w.all[1].name]
	fmt.Printf("\n### Connecting to a real Chromium\n\n| | median ms | more than directly |\n|---|---|---|\n")
	for _, way := range w.all {
		fmt.Printf("| %s | %.2f | %+.2f |\n", way.name, got[way.name], got[way.name]-base)
	}
	fmt.Printf("\n| of the way through the pool | mean ms |\n|---|---|\n")
	for _, part := range parts {
		fmt.Printf("| %s | %.2f |\n", part, 1000*spent[part].since(before[part]))
	}
	fmt.Printf("| a PING to Redis, at rest | %.2f |\n\n%.0f s of measuring\n\n", pingTime(t, redis), took.Seconds())
}

// The parts that are told by the processes themselves.
const (
	partProxy  = "from the request to the worker's 101, in the proxy"
	partGate   = "from the request to its 101, in the worker"
	partScript = "a script inside Redis"
)

var parts = []string{partProxy, partGate, partScript}

// connects has a client connect so often each way and tells how long it took, in
// milliseconds (medians).
func (w *ways) connects(tb testing.TB, count int) (got figures) {
	tb.Helper()
	node(tb, map[string]any{"what": "connects", "endpoints": w.endpoints(), "count": count}, &got)
	return got
}

// total is what something has taken since its process began.
type total struct{ seconds, times float64 }

// since is the mean of what came after an earlier total, in seconds.
func (t total) since(before total) float64 {
	return (t.seconds - before.seconds) / (t.times - before.times)
}

func (w *ways) spent(tb testing.TB, redis rueidis.Client) map[string]total {
	tb.Helper()
	stats, err := redis.Do(tb.Context(), redis.B().Info().Section("commandstats").Build()).ToString()
	require.NoError(tb, err)
	return map[string]total{
		partProxy:  histogram(tb, w.proxy, "pwdist_proxy_connect_seconds"),
		partGate:   histogram(tb, w.worker, "pwdist_worker_session_opening_seconds"),
		partScript: {seconds: field(tb, stats, "cmdstat_fcall:", "usec=", ",") / 1e6, times: field(tb, stats, "cmdstat_fcall:", "calls=", ",")},
	}
}

func histogram(tb testing.TB, t target, name string) total {
	tb.Helper()
	b, err := t.get("/metrics")
	require.NoError(tb, err)
	return total{field(tb, string(b), name+"_sum", " ", "\n"), field(tb, string(b), name+"_count", " ", "\n")}
}

// field reads the number between two marks, in the line that begins with start.
func field(tb testing.TB, text, start, before, after string) float64 {
	tb.Helper()
	_, line, ok := strings.Cut("\n"+text, "\n"+start)
	require.True(tb, ok, "%s is missing", start)
	line, _, _ = strings.Cut(line, "\n")
	_, value, ok := strings.Cut(line, before)
	require.True(tb, ok, "%s of %s is missing", before, start)
	value, _, _ = strings.Cut(value, after)
	n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	require.NoError(tb, err)
	return n
}

// pingTime is the median of round trips to Redis that have it woken each time, in
// milliseconds.
func pingTime(tb testing.TB, redis rueidis.Client) float64 {
	tb.Helper()
	all := make([]float64, 0, connectsPerRound)
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for range connectsPerRound {
		<-pause.C
		began := time.Now()
		require.NoError(tb, redis.Do(context.Background(), redis.B().Ping().Build()).Error())
		all = append(all, 1000*time.Since(began).Seconds())
	}
	return median(all)
}
