package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fault is what is done to a target.
type fault string

const (
	kill      fault = "kill"      // SIGKILL; started again at the end
	terminate fault = "terminate" // SIGTERM; started again when it has ended
	stop      fault = "stop"      // SIGSTOP, at the end SIGCONT

	killBrowser fault = "kill browser" // of a worker; the worker starts another one
	stopBrowser fault = "stop browser"

	redisEmpty  fault = "kill, empty" // comes back without its data
	redisKill   fault = "kill"        // comes back with its data
	redisStop   fault = "shut down"   // likewise
	redisFreeze fault = "freeze"

	cut       fault = "cut"
	reset     fault = "reset"
	blackHole fault = "black hole"
	partition fault = "partition"
	delay     fault = "delay"
	throttle  fault = "throttle"
	holdUp    fault = "hold towards the target"
	holdDown  fault = "hold from the target"
	shutUp    fault = "shut towards the target"
	shutDown  fault = "shut from the target"
)

var (
	proxyFaults  = []fault{kill, kill, terminate, stop}
	workerFaults = []fault{kill, kill, terminate, stop, killBrowser, killBrowser, stopBrowser}
	redisFaults  = []fault{redisEmpty, redisKill, redisStop, redisFreeze, redisFreeze}
	linkFaults   = []fault{cut, reset, blackHole, partition, delay, throttle, holdUp, holdDown, shutUp, shutDown}

	// muting are those of a link that let nothing through in one direction, or
	// in both, as long as they last.
	muting = []fault{cut, blackHole, partition, holdUp, holdDown, shutUp, shutDown}
)

// target names what a fault strikes. Links have the address that they lead to
// as their last word.
type target struct {
	what string // "redis", "proxy", "worker", "proxy–redis", "worker–redis", "–worker"
	n    int    // which one, from 0
}

func (t target) String() string {
	if t.what == "redis" {
		return t.what
	}
	return fmt.Sprintf("%s %d", t.what, t.n+1)
}

func (t target) faults() []fault {
	switch t.what {
	case "redis":
		return redisFaults
	case "proxy":
		return proxyFaults
	case "worker":
		return workerFaults
	}
	return linkFaults
}

// strike is one step of a plan.
type strike struct {
	target

	fault  fault
	at     time.Duration // since the beginning
	length time.Duration
}

func (s strike) String() string {
	return fmt.Sprintf("%6.2fs %-14s %s for %.2fs", s.at.Seconds(), s.target, s.fault, s.length.Seconds())
}

// outlives tells whether a process that goes on afterwards cannot renew its
// lease for longer than that lasts.
func (s strike) outlives(lease time.Duration) bool {
	switch s.what {
	case "proxy", "worker":
		return s.fault == stop && s.length > lease
	case "proxy–redis", "worker–redis":
		return slices.Contains(muting, s.fault) && s.length > lease
	}
	return false
}

// plan is what happens in a run, in the order of its beginnings.
type plan []strike

func (p plan) String() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// size of a pool.
type size struct {
	proxies, workers, slots, clients int
	real                             int // further workers, with a real browser for stock clients

	processLease, startLease time.Duration
}

// small is the pool of the short run. Its leases are those of other tests: a
// process outlives one within the run, and a busy machine does not miss one.
func small() size {
	return size{
		proxies: 2, workers: 3, slots: 20, clients: 80,
		processLease: 4 * time.Second, startLease: 6 * time.Second,
	}
}

// large is the pool of make chaos.
func large() size {
	return size{
		proxies: 3, workers: 6, slots: 40, clients: 300, real: 1,
		processLease: 6 * time.Second, startLease: 8 * time.Second,
	}
}

func (s size) targets() []target {
	all := []target{{what: "redis"}, {what: "redis"}} // twice as likely as another one
	for i := range s.proxies {
		all = append(all, target{"proxy", i}, target{"proxy–redis", i})
	}
	for i := range s.workers + s.real {
		all = append(all, target{"worker", i}, target{"worker", i}, target{"worker–redis", i}, target{"–worker", i})
	}
	return all
}

// newPlan makes the plan that a seed stands for. No target has two faults at
// once, different ones may.
func newPlan(seed uint64, s size, during time.Duration) plan {
	const gap = 400 * time.Millisecond // between two beginnings, on average
	r := rand.New(rand.NewPCG(seed, 0))
	targets, end := s.targets(), during+time.Second
	first := s.outliving(r)
	first.length = min(first.length, end-first.at)
	p, busy := plan{first}, map[target]time.Duration{first.target: first.at + first.length}
	for at := first.at; ; {
		at += time.Duration(r.ExpFloat64() * float64(gap))
		if at >= during {
			return p
		}
		to := targets[r.IntN(len(targets))]
		f := to.faults()[r.IntN(len(to.faults()))]
		// Most are short, as most faults are; one of ten outlives every lease.
		length := 50*time.Millisecond + time.Duration(min(r.ExpFloat64(), 5)*float64(1200*time.Millisecond))
		if r.IntN(10) == 0 {
			length = s.long(r)
		}
		length = min(length, end-at)
		if at < busy[to] {
			continue
		}
		busy[to] = at + length
		p = append(p, strike{target: to, fault: f, at: at, length: length})
	}
}

// long is a time that outlives every lease: with those of make chaos 9 to 12 s.
func (s size) long(r *rand.Rand) time.Duration {
	return s.processLease*3/2 + time.Duration(r.Float64()*float64(s.processLease)/2)
}

// outliving is the first strike of each plan: a process that is paused or cut
// off from Redis until it has lost its lease, which chance alone would seldom
// have happen in a short run.
func (s size) outliving(r *rand.Rand) strike {
	var all []strike
	for _, to := range s.targets() {
		for _, f := range to.faults() {
			all = append(all, strike{target: to, fault: f, length: s.long(r)})
		}
	}
	all = slices.DeleteFunc(all, func(one strike) bool { return !one.outlives(s.processLease) })
	first := all[r.IntN(len(all))]
	first.at = time.Duration(r.Float64() * float64(time.Second))
	return first
}

func TestASeedIsAPlan(t *testing.T) {
	s := small()
	one := newPlan(7, s, time.Minute)
	require.Equal(t, one, newPlan(7, s, time.Minute))
	require.NotEqual(t, one, newPlan(8, s, time.Minute))
	seen := map[string]bool{}
	until := map[target]time.Duration{}
	for _, s := range newPlan(7, s, 20*time.Minute) {
		require.GreaterOrEqual(t, s.at, until[s.target], "%s is struck twice at once", s)
		until[s.target] = s.at + s.length
		seen[s.what+": "+string(s.fault)] = true
	}
	for _, to := range s.targets() {
		for _, f := range to.faults() {
			require.True(t, seen[to.what+": "+string(f)], "%s: %s never happens", to, f)
		}
	}
}

// Whatever the seed, some process is still there and has lost its lease: then it
// is lost or suspect, and joins again.
func TestEveryPlanOutlivesALease(t *testing.T) {
	for name, c := range map[string]struct {
		size   size
		during time.Duration
		least  int // of a hundred plans, each
	}{
		"the short run":  {small(), shortRun, 1},
		"a minute":       {large(), time.Minute, 1},
		"twenty minutes": {large(), 20 * time.Minute, 30},
	} {
		t.Run(name, func(t *testing.T) {
			require.Greater(t, c.size.long(rand.New(rand.NewPCG(0, 0))), c.size.startLease, "longer than every lease")
			for seed := range uint64(100) {
				p := newPlan(seed, c.size, c.during)
				outlived := 0
				for _, s := range p {
					if s.outlives(c.size.processLease) {
						outlived++
					}
				}
				require.GreaterOrEqual(t, outlived, c.least, "seed %d:\n%s", seed, p)
			}
		})
	}
}

// One strike of ten lasts longer than every lease.
func TestSomeStrikesAreLong(t *testing.T) {
	s := large()
	p := newPlan(7, s, 20*time.Minute)
	long := 0
	for _, one := range p {
		if one.length > s.startLease {
			require.Less(t, one.length, 12*time.Second, one)
			require.GreaterOrEqual(t, one.length, 9*time.Second, one)
			long++
		}
	}
	share := float64(long) / float64(len(p))
	require.InDelta(t, 0.1, share, 0.03, "%d of %d", long, len(p))
}
