package state_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// BenchmarkHeartbeat is what a heartbeat of a worker with five sessions costs.
func BenchmarkHeartbeat(b *testing.B) {
	p := openPool(b, conn, options())
	defer p.wipe()
	p.join(worker("w1", 5))
	var serving []string
	for i := range 5 {
		serving = append(serving, fmt.Sprint("s", i))
		p.serve(serving[i], "w1")
	}
	before := p.cost()
	b.ResetTimer()
	for i := range b.N {
		if r := p.beat("w1", int64(i+2), serving...); r.State != state.Ready {
			b.Fatalf("%+v", r)
		}
	}
	b.StopTimer()
	after := p.cost()
	b.ReportMetric((after.server-before.server)/float64(b.N), "redis-µs/op")
	b.ReportMetric((after.scripts-before.scripts)/float64(b.N), "script-µs/op")
}

// cost is CPU time of Redis so far, in µs.
type cost struct{ server, scripts float64 }

var (
	cpuTime    = regexp.MustCompile(`(?m)^used_cpu_(?:user|sys):([0-9.]+)`)
	scriptTime = regexp.MustCompile(`(?m)^cmdstat_fcall:calls=\d+,usec=(\d+)`)
)

func (p *pool) cost() cost {
	p.t.Helper()
	sum := func(section string, pattern *regexp.Regexp) (n float64) {
		text, err := p.do("INFO", section).ToString()
		require.NoError(p.t, err)
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			v, err := strconv.ParseFloat(m[1], 64)
			require.NoError(p.t, err)
			n += v
		}
		return n
	}
	return cost{1e6 * sum("cpu", cpuTime), sum("commandstats", scriptTime)}
}
