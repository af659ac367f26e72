package state_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// crowd is a pool whose clients all came by the proxy p1: as many as there are
// slots are served or assigned, the others wait.
func crowd(p *pool, workers, slots, clients int, starts bool) *fleet {
	f := newFleet(p, workers, 1, slots, chromium(""))
	atOnce(clients, func(int) {
		if starts {
			f.come()
			return
		}
		_, err := p.Acquire(ctx, state.Request{Session: fmt.Sprintf("%032d", f.ids.Add(1)), Proxy: "p1", Demand: f.demand, QueueLimit: f.limit})
		if err != nil {
			p.t.Errorf("acquire: %v", err)
		}
	})
	return f
}

// dies lets the leases of processes run out.
func (p *pool) dies(zset string, like string) {
	p.t.Helper()
	members, err := p.do("ZRANGE", zset, "0", "-1").AsStrSlice()
	require.NoError(p.t, err)
	for _, m := range members {
		if strings.HasPrefix(m, like) {
			p.expire(zset, m)
		}
	}
}

// reapAll reaps until nothing is due, and returns how many calls it took.
func (p *pool) reapAll(batch int) (calls int) {
	p.t.Helper()
	for calls < 100_000 {
		_, next := p.reap(batch)
		calls++
		if next != 0 {
			return calls
		}
	}
	p.t.Fatalf("the reaper does not come to an end")
	return calls
}

// TestReapInBatches holds what one call of the reaper does against its batch,
// however many sessions have lost their proxy or their worker.
func TestReapInBatches(t *testing.T) {
	const batch = 20
	for _, c := range []struct {
		name             string
		workers, clients int
		starts           bool
		dead             func(p *pool)
	}{
		{"they wait", 1, 1000, false, func(p *pool) { p.dies(p.k.Proxies(), "p1") }},
		{"they are assigned", 100, 1000, false, func(p *pool) { p.dies(p.k.Proxies(), "p1") }},
		{"they are served", 100, 1000, true, func(p *pool) {
			p.dies(p.k.Proxies(), "p1")
			p.dies(p.k.Workers(), "w")
		}},
		{"one worker served them all", 1, 1000, true, func(p *pool) {
			p.dies(p.k.Proxies(), "p1")
			p.dies(p.k.Workers(), "w")
		}},
		{"they did not start", 100, 1000, false, func(p *pool) { p.dies(p.k.Leases(), "") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t)
			slots := max(10, c.clients/c.workers)
			if !c.starts && c.workers == 1 {
				slots = 10 // the others wait
			}
			crowd(p, c.workers, slots, c.clients, c.starts)
			p.proxyBeat("p2")
			c.dead(p)
			var calls int
			log := monitor(t, func() { calls = p.reapAll(batch) })
			require.Greater(t, calls, c.clients/200, "in batches") // a sweep ends a hundred more that wait
			commands, most := 0, 0
			for _, line := range log {
				if strings.Contains(line, " lua] ") {
					commands++
					most = max(most, commands)
				} else {
					commands = 0
				}
			}
			// Ending a session takes about twenty commands; a sweep may end a hundred that wait.
			require.LessOrEqual(t, most, (2*batch+200)*30, "one call does too much")
			for _, name := range p.dump().under("held:") {
				require.Empty(t, p.dump().set["held:"+name])
			}
		})
	}
}

// TestSessionsMakeNoNoise counts the notifications that reach the proxies' caches
// while sessions come and go: none, since nothing about a worker changes.
func TestSessionsMakeNoNoise(t *testing.T) {
	p := newPool(t)
	p.proxyBeat("p1")
	p.join(worker("w1", 1))
	require.NoError(t, p.do("CONFIG", "SET", "notify-keyspace-events", "Kghx").Error())
	defer func() { require.NoError(t, p.do("CONFIG", "SET", "notify-keyspace-events", "").Error()) }()

	heard := make(chan string, 1000)
	c, err := connect()
	require.NoError(t, err)
	defer c.Close()
	listening, cancel := context.WithCancel(ctx)
	dedicated, release := c.Dedicate()
	defer release()
	defer cancel()
	pattern := "__keyspace@0__:" + p.k.WorkerPattern()
	lost := dedicated.SetPubSubHooks(hooks(heard))
	require.NoError(t, dedicated.Do(listening, c.B().Psubscribe().Pattern(pattern).Build()).Error())

	for i := range 20 {
		id := fmt.Sprint("s", i)
		p.serve(id, "w1")
		p.acquire(id + "-waits")
		p.beat("w1", int64(i+2), id)
		p.proxyBeat("p1")
		p.finish("w1", id)
		p.cancel(id + "-waits")
	}
	p.acquire("last")
	p.reassign("last", "w1", 1) // this is a change: suspect
	select {
	case got := <-heard:
		require.Contains(t, got, "worker:w1")
	case err := <-lost:
		t.Fatal("the subscription broke off: ", err)
	}
	require.Empty(t, heard, "one change, one notification")
}

// TestPauses prints for how long the longest script held Redis where much has to
// be done at once, by Redis' own slow log. It is a measurement: make bench-state.
func TestPauses(t *testing.T) {
	if os.Getenv("PWDIST_BENCH_STATE") == "" {
		t.Skip("a measurement: make bench-state")
	}
	require.NoError(t, p0(t).do("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000000").Error())
	defer func() {
		require.NoError(t, p0(t).do("CONFIG", "SET", "slowlog-log-slower-than", "10000", "slowlog-max-len", "128").Error())
	}()
	beat := func(n int) func(*fleet) {
		return func(f *fleet) {
			var ids []string
			for _, g := range f.running[:n] {
				ids = append(ids, g.Session)
			}
			for i := range 50 {
				f.beat("w0", int64(i+2), ids...)
			}
		}
	}
	table := "| what | longest script | calls |\n|---|---:|---:|\n"
	for _, c := range []struct {
		name                    string
		workers, slots, clients int
		starts                  bool
		do                      func(f *fleet)
	}{
		{"a proxy dies with 10,000 waiting clients", 1, 1, 10_001, true, func(f *fleet) { f.dies(f.k.Proxies(), "p1"); f.reapAll(100) }},
		{"a proxy dies with 10,000 assigned sessions", 1000, 10, 10_000, false, func(f *fleet) { f.dies(f.k.Proxies(), "p1"); f.reapAll(100) }},
		{"1,000 workers and their proxy die with 10,000 sessions", 1000, 10, 10_000, true, func(f *fleet) {
			f.dies(f.k.Proxies(), "p1")
			f.dies(f.k.Workers(), "w")
			f.reapAll(100)
		}},
		{"a worker of 1,000 sessions and its proxy die", 1, 1000, 1000, true, func(f *fleet) {
			f.dies(f.k.Proxies(), "p1")
			f.dies(f.k.Workers(), "w")
			f.reapAll(100)
		}},
		{"10,000 sessions did not start", 1000, 10, 10_000, false, func(f *fleet) { f.dies(f.k.Leases(), ""); f.reapAll(100) }},
		{"a worker of 1,000 sessions is started again", 1, 1000, 1000, true, func(f *fleet) {
			r := boot(1000)
			r.Worker.Endpoint = "w0:3131"
			f.joinAs(r)
		}},
		{"heartbeats of a worker with 10 sessions", 1, 10, 10, true, beat(10)},
		{"heartbeats of a worker with 100 sessions", 1, 100, 100, true, beat(100)},
		{"heartbeats of a worker with 1,000 sessions", 1, 1000, 1000, true, beat(1000)},
		{"time stood still over 10,000 workers", 10_000, 1, 1, true, func(f *fleet) { f.lastSeen(time.Hour); f.proxyBeat("p2") }},
	} {
		func() {
			p := openPool(t, conn, options(func(o *state.Options) { o.ProcessLease, o.StartLease = time.Hour, time.Hour }))
			defer p.wipe()
			f := crowd(p, c.workers, c.slots, c.clients, c.starts)
			p.proxyBeat("p2")
			require.NoError(t, p.do("SLOWLOG", "RESET").Error())
			c.do(f)
			longest, calls := p.longest()
			table += fmt.Sprintf("| %s | %.1f ms | %d |\n", c.name, float64(longest.Microseconds())/1000, calls)
		}()
	}
	t.Log("how long a script holds Redis\n" + table)
}

func p0(t *testing.T) *pool {
	t.Helper()
	k, err := keys.For("none")
	require.NoError(t, err)
	return &pool{t: t, c: conn, k: k}
}

// longest reads the slow log.
func (p *pool) longest() (longest time.Duration, calls int) {
	p.t.Helper()
	entries, err := p.do("SLOWLOG", "GET", "-1").ToArray()
	require.NoError(p.t, err)
	for _, e := range entries {
		f, err := e.ToArray()
		require.NoError(p.t, err)
		micros, err := f[2].AsInt64()
		require.NoError(p.t, err)
		args, err := f[3].AsStrSlice()
		require.NoError(p.t, err)
		if strings.EqualFold(args[0], "FCALL") {
			calls++
			longest = max(longest, time.Duration(micros)*time.Microsecond)
		}
	}
	return longest, calls
}

func hooks(heard chan<- string) rueidis.PubSubHooks {
	return rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { heard <- m.Channel + " " + m.Message }}
}
