package state_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// BenchmarkCycle is what one short session costs Redis: acquire, start and finish.
// redis-µs/op is the CPU time of the whole server, script-µs/op that of the
// scripts alone.
func BenchmarkCycle(b *testing.B) {
	for _, c := range []struct {
		workers, flavours int
		any               bool // the client takes any version: every flavour fits
	}{
		{10, 1, false}, {100, 1, false}, {1000, 1, false}, {10_000, 1, false},
		{1000, 50, false}, {10_000, 50, false}, {1000, 10, true}, {10_000, 50, true},
	} {
		b.Run(fmt.Sprintf("workers=%d/flavours=%d/any=%v", c.workers, c.flavours, c.any), func(b *testing.B) {
			p := openPool(b, conn, options(func(o *state.Options) { o.ProcessLease = 24 * time.Hour }))
			defer p.wipe()
			for i := range c.workers {
				w := worker(fmt.Sprint("w", i), 5)
				w.Playwright = fmt.Sprintf("1.%d.0", i%c.flavours)
				p.join(w)
			}
			demand := chromium("1.0")
			if c.any {
				demand.Playwright = ""
			}
			p.cycle(b, -1, demand)
			before := p.cost()
			b.ResetTimer()
			for i := range b.N {
				p.cycle(b, i, demand)
			}
			b.StopTimer()
			after := p.cost()
			b.ReportMetric((after.server-before.server)/float64(b.N), "redis-µs/op")
			b.ReportMetric((after.scripts-before.scripts)/float64(b.N), "script-µs/op")
		})
	}
}

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

// cycle leads one session through its life.
func (p *pool) cycle(b *testing.B, i int, demand state.Demand) {
	id := fmt.Sprintf("%032d", i)
	r := state.Request{Session: id, Proxy: "p1", Demand: demand, Name: "checkout of a basket", Labels: map[string]string{"team": "shop"},
		Token: "ci", Client: "192.0.2.1:34567", QueueLimit: 100}
	st, err := p.Acquire(ctx, r)
	if err != nil || st.Phase != state.Assigned {
		b.Fatalf("%+v %v", st, err)
	}
	a, err := p.Start(ctx, id, st.Grant.Worker, st.Grant.Attempt, id, 1)
	if err != nil || a != state.StartOK {
		b.Fatalf("%v %v", a, err)
	}
	if err := p.Finish(ctx, state.SideWorker, st.Grant.Worker, state.End{Session: id, Reason: "client_closed", Counts: state.Counts{BytesUp: 48213, BytesDown: 1730554, MessagesUp: 322, MessagesDown: 911}}); err != nil {
		b.Fatal(err)
	}
}

// cost is CPU time of Redis so far, in µs.
type cost struct{ server, scripts float64 }

var (
	cpuTime    = regexp.MustCompile(`(?m)^used_cpu_(?:user|sys):([0-9.]+)`)
	scriptTime = regexp.MustCompile(`(?m)^cmdstat_evalsha:calls=\d+,usec=(\d+)`)
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
