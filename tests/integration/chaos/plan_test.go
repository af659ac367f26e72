package chaos_test

import (
	"fmt"
	"math/rand/v2"
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
	const (
		gap     = 400 * time.Millisecond // between two beginnings, on average
		longest = 7 * time.Second        // longer than a process lease
	)
	r := rand.New(rand.NewPCG(seed, 0))
	targets, busy := s.targets(), map[target]time.Duration{}
	var p plan
	for at := time.Duration(0); ; {
		at += time.Duration(r.ExpFloat64() * float64(gap))
		if at >= during {
			return p
		}
		to := targets[r.IntN(len(targets))]
		f := to.faults()[r.IntN(len(to.faults()))]
		// Most are short, as most faults are; a few outlive every lease.
		length := 50*time.Millisecond + time.Duration(min(r.ExpFloat64(), 5)*float64(1200*time.Millisecond))
		length = min(length, longest, during-at+time.Second)
		if at < busy[to] {
			continue
		}
		busy[to] = at + length
		p = append(p, strike{target: to, fault: f, at: at, length: length})
	}
}

func TestASeedIsAPlan(t *testing.T) {
	s := size{proxies: 2, workers: 3}
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
