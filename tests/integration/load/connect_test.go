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
	redis, err := rueidis.NewClient(rueidis.MustParseURL(w.redis))
	require.NoError(t, err)
	t.Cleanup(redis.Close)
	var got figures
	ask := map[string]any{"what": "connects", "endpoints": w.endpoints()}
	ask["count"] = 1
	node(t, ask, &got) // the proxy has to be known to the worker first

	before := w.spent(t, redis)
	began := time.Now()
	ask["count"] = connectsPerRound * rounds(t)
	node(t, ask, &got)
	spent, took := w.spent(t, redis), time.Since(began)
	base := got[w.all[1].name]
	fmt.Printf("\n### Connecting to a real Chromium\n\n| | median ms | more than directly |\n|---|---|---|\n")
	for _, way := range w.all {
		fmt.Printf("| %s | %.2f | %+.2f |\n", way.name, got[way.name], got[way.name]-base)
	}
	fmt.Printf("\n| of the way through the pool | mean ms |\n|---|---|\n")
	for _, part := range parts {
		fmt.Printf("| %s | %.2f |\n", part, 1000*(spent[part].seconds-before[part].seconds)/(spent[part].times-before[part].times))
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

// total is what something has taken since its process began.
type total struct{ seconds, times float64 }

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
