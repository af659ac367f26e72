package soak_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// account keeps the workers of a pool as the writes to Redis make them, and
// notes how little capacity there ever was after a script.
type account struct {
	prefix string
	slots  int // of the whole fleet

	mu      sync.Mutex
	written *sync.Cond
	workers map[string]*member // also those that have gone
	taken   int                // slots that are held, or that a client is about to ask for
	ended   int                // sessions that gave their slot back
	on      bool
	least   level // the lowest of each
	pieces  int   // that were looked at
	below   int   // after which less than four fifths were usable
}

// member is a worker as Redis has it.
type member struct {
	state                   string
	slots, lifetime, served int
	held                    map[string]bool
}

// level is the capacity of a fleet at a moment, in slots.
type level struct {
	ready  int // of workers that are ready
	usable int // of these, what is taken or can be, since a lifetime can end before all slots are taken
}

func newAccount(prefix string, slots int) *account {
	a := &account{prefix: prefix, slots: slots, workers: map[string]*member{}, least: level{slots, slots}}
	a.written = sync.NewCond(&a.mu)
	return a
}

// watch begins to note when the whole fleet is ready.
func (a *account) watch() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.await("all workers are ready", func() bool { return a.level() == level{a.slots, a.slots} })
	a.on = err == nil
	return err
}

// rest ends it.
func (a *account) rest() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = false
}

// await returns when ok holds after some write. The lock is held.
func (a *account) await(what string, ok func() bool) error {
	late := false
	timer := time.AfterFunc(2*harness.Patience, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		late = true
		a.written.Broadcast()
	})
	defer timer.Stop()
	for !ok() {
		if late {
			return fmt.Errorf("waited in vain until %s", what)
		}
		a.written.Wait()
	}
	return nil
}

func (a *account) apply(piece [][]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.written.Broadcast()
	for _, c := range piece {
		a.write(strings.ToUpper(c[0]), c[1:])
	}
	if !a.on {
		return
	}
	now := a.level()
	a.pieces++
	a.least.ready, a.least.usable = min(a.least.ready, now.ready), min(a.least.usable, now.usable)
	if now.usable*5 < a.slots*4 {
		a.below++
	}
}

func (a *account) level() (l level) {
	for _, w := range a.workers {
		if w.state != "ready" {
			continue
		}
		l.ready += w.slots
		can := w.slots
		if w.lifetime > 0 {
			can = min(can, len(w.held)+w.lifetime-w.served)
		}
		l.usable += can
	}
	return l
}

func (a *account) member(id string) *member {
	w := a.workers[id]
	if w == nil {
		w = &member{held: map[string]bool{}}
		a.workers[id] = w
	}
	return w
}

// write takes one command into account. Those that the scripts do not use on
// what is kept here would be missed, so they are refused.
func (a *account) write(name string, args []string) {
	key, ok := strings.CutPrefix(args[0], a.prefix)
	if !ok {
		return
	}
	kind, id, _ := strings.Cut(key, ":")
	switch kind + " " + name {
	case "worker HSET", "worker HMSET":
		w := a.member(id)
		for i := 1; i+1 < len(args); i += 2 {
			switch v := args[i+1]; args[i] {
			case "state":
				w.state = v
			case "slots":
				w.slots = number(v)
			case "lifetime":
				w.lifetime = number(v)
			}
		}
	case "worker DEL", "worker UNLINK":
		// What it still holds is moved or ended by others.
		a.member(id).state = ""
	case "held SADD":
		for _, s := range args[1:] {
			a.member(id).held[s] = true
		}
	case "held SREM":
		for _, s := range args[1:] {
			delete(a.member(id).held, s)
			a.taken, a.ended = a.taken-1, a.ended+1
		}
	case "served SET":
		a.member(id).served = number(args[1])
	case "served INCR":
		a.member(id).served++
	case "served DECR":
		a.member(id).served--
	default:
		if kind == "worker" || kind == "held" || kind == "served" {
			panic(fmt.Sprintf("%s %s: no rule for this write", name, args[0]))
		}
	}
}

func number(s string) int {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return int(n)
}
