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
	b.ReportMetric((after-before)/float64(b.N), "redis-µs/op")
}

var cpuTime = regexp.MustCompile(`(?m)^used_cpu_(?:user|sys):([0-9.]+)`)

// cost is the CPU time of Redis so far, in µs.
func (p *pool) cost() float64 {
	p.t.Helper()
	text, err := p.do("INFO", "cpu").ToString()
	require.NoError(p.t, err)
	var seconds float64
	for _, m := range cpuTime.FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		require.NoError(p.t, err)
		seconds += v
	}
	return 1e6 * seconds
}
