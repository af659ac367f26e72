package sim_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// size is how large a simulation is.
type size struct {
	workers, slots, waiting int
	heartbeat               time.Duration
}

// TestSimulation fills a pool until many wait, lets it work off its queue while
// workers and a proxy die and others come, and holds its whole log against the
// invariants. PWDIST_SIM=full plays the large one, PWDIST_SIM_SEED another one.
func TestSimulation(t *testing.T) {
	s := size{workers: 60, slots: 10, waiting: 1500, heartbeat: time.Second}
	if os.Getenv("PWDIST_SIM") == "full" {
		s = size{workers: 1000, slots: 10, waiting: 20_000, heartbeat: 3 * time.Second}
	}
	seed, _ := strconv.ParseUint(os.Getenv("PWDIST_SIM_SEED"), 10, 64)
	if seed == 0 {
		seed = 1
	}
	t.Logf("%d workers with %d slots, %d clients wait, seed %d", s.workers, s.slots, s.waiting, seed)
	s.play(t, rand.New(rand.NewPCG(seed, 0)))
}

func (s size) play(t *testing.T, random *rand.Rand) {
	t.Helper()
	began := time.Now()
	stage := func(what string) { t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what) }
	url := startRedis(t)
	o := timing(s.heartbeat)
	w := newWorld(t, o, s.slots)
	var machines []host // that the workers share
	for range 4 {
		machines = append(machines, connect(t, url, o))
	}
	var proxies []*proxy
	for range 3 {
		proxies = append(proxies, w.newProxy(connect(t, url, o)))
	}
	var workers []*worker
	for i := range s.workers {
		workers = append(workers, w.newWorker(machines[i%4], i, ""))
	}
	look := machines[0]
	members := func() int {
		n, err := look.client.Do(context.Background(), look.client.B().Zcard().Key(look.Keys().Workers()).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	harness.AwaitWithin(t, time.Minute, "all workers have joined", func() bool { return members() == s.workers })
	w.watch(machines[1])
	stage("the workers have joined")

	// The pool fills, and a queue grows.
	var clients sync.WaitGroup
	came := 0
	come := func(n int, to ...*proxy) {
		for range n {
			c := w.newClient(came, random, 3*s.heartbeat)
			p := to[came%len(to)]
			came++
			clients.Go(func() { p.walk(c) })
		}
	}
	come(s.workers*s.slots+s.waiting, proxies...)
	harness.AwaitWithin(t, 3*time.Minute, "all clients have asked", func() bool { return w.asked.Load() == int64(came) })
	waiting, err := look.client.Do(context.Background(), look.client.B().Zcard().Key(look.Keys().Waiting()).Build()).AsInt64()
	if err != nil {
		t.Fatal(err)
	}
	stage(strconv.FormatInt(waiting, 10) + " clients wait")

	// It works; some die, others come.
	close(w.hold)
	part := func(n int) func() bool {
		goal := int64(n * s.waiting / 100)
		return func() bool { return w.over.Load() >= goal }
	}
	killWorkers := func(n int) (endpoints []string) {
		for range n {
			i := random.IntN(len(workers))
			workers[i].kill()
			endpoints = append(endpoints, workers[i].me.Endpoint)
			workers = slices.Delete(workers, i, i+1)
		}
		return endpoints
	}
	harness.AwaitWithin(t, 3*time.Minute, "a tenth is over", part(10))
	killWorkers(s.workers / 20)
	stage("workers have died")
	harness.AwaitWithin(t, 3*time.Minute, "a fifth is over", part(20))
	close(proxies[2].end)
	stage("a proxy has died")
	come(s.waiting/10, proxies[:2]...)
	harness.AwaitWithin(t, 3*time.Minute, "two fifths are over", part(40))
	for i, endpoint := range killWorkers(s.workers / 20) {
		workers = append(workers, w.newWorker(machines[i%4], random.IntN(4), endpoint))
	}
	proxies[2] = w.newProxy(connect(t, url, o))
	come(s.waiting/10, proxies...)
	stage("workers have died and come again, and a proxy has come")
	harness.AwaitWithin(t, 3*time.Minute, "three fifths are over", part(60))
	// One that was late is taken for dead until its next heartbeat: who waited with it may have lost its place.
	lapse := look.client.B().Zadd().Key(look.Keys().Proxies()).Xx().ScoreMember().ScoreMember(1, proxies[0].id).Build()
	if err := look.client.Do(context.Background(), lapse).Error(); err != nil {
		t.Fatal(err)
	}
	stage("a proxy has lost its lease")
	clients.Wait()
	stage("all clients have gone")

	// Whoever died is noticed, and nothing of it stays.
	left := func() []string { return held(t, look) }
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%d workers of %d; something is in %v", members(), len(workers), left())
		}
	})
	harness.AwaitWithin(t, 20*s.heartbeat, "the dead are gone and nothing is held (I3)", func() bool { return members() == len(workers) && len(left()) == 0 })
	w.end()
	stage("nothing is held")
	y := readHistory(t, look)
	y.finished(look)
	if slots, busy := freeSlots(t, look, y.fold.Workers); slots != s.slots*len(workers) || busy != 0 {
		t.Errorf("%d slots are free with a load of %d, of %d", slots, busy, s.slots*len(workers))
	}
	if w.looks.Load() == 0 || y.counts["assigned to one who waited"] == 0 {
		t.Errorf("nothing was seen: %d looks, %v", w.looks.Load(), y.counts)
	}
	for _, what := range slices.Sorted(maps.Keys(y.counts)) {
		t.Logf("%8d %s", y.counts[what], what)
	}
	t.Logf("%8d looks for somebody who sleeps beside a free slot", w.looks.Load())
	stage("the log has been read")
}
