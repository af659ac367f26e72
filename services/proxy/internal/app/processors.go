package app

import (
	"os"
	"runtime"
)

// pollers is how many event loops to run.
func (r Relay) pollers() int {
	if r.Pollers > 0 {
		return r.Pollers
	}
	return max(1, runtime.NumCPU()/2)
}

// limitProcessors has Go code run on as many processors as there are event
// loops, unless GOMAXPROCS says otherwise. A loop waits inside a system call, of
// which the runtime learns nothing. As long as it has another processor for what
// else there is to do, its monitor thread stays awake for 10 ms to see whether
// the loop comes back, which was half of the CPU of a proxy with few sessions
// (runtime.retake); without one, it takes the loop's after 20 µs, and sleeps.
func limitProcessors(pollers int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(pollers)
	}
}
