package app

import "github.com/playwright-distributed/playwright-distributed/services/proxy/internal/edge"

// idleWalkers is how many goroutines wait for the next client at most.
const idleWalkers = 32

// walkers lead clients to their workers, each in a goroutine that serves another
// client afterwards: a fresh one would spend more time on growing its stack than
// on anything that it does besides calling the kernel.
type walkers struct {
	walk func(edge.Upgrade)
	next chan edge.Upgrade
	idle chan struct{} // has a token for each that waits
}

func newWalkers(walk func(edge.Upgrade)) *walkers {
	return &walkers{walk: walk, next: make(chan edge.Upgrade), idle: make(chan struct{}, idleWalkers)}
}

// lead has a client walked without waiting for it.
func (w *walkers) lead(u edge.Upgrade) {
	select {
	case w.next <- u:
	default:
		go w.run(u)
	}
}

func (w *walkers) run(u edge.Upgrade) {
	for {
		w.walk(u)
		select {
		case w.idle <- struct{}{}:
		default:
			return // there are enough
		}
		next, ok := <-w.next
		<-w.idle
		if !ok {
			return
		}
		u = next
	}
}

// stop ends those that wait. No client may come any more.
func (w *walkers) stop() { close(w.next) }
