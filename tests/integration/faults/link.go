package faults

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
)

// Link is an address that leads to another one. Its methods may be called at
// any time and from several goroutines; each is in force when it returns.
type Link struct {
	port *port

	mu       sync.Mutex
	target   string
	answer   Answer
	listener net.Listener // while Accept or Silent
	deaf     int          // while Ignore
	faults   [2]Fault     // by direction
	changed  chan struct{}
	conns    map[*conn]struct{}
	closed   bool
	all      sync.WaitGroup
}

// direction of bytes on a link.
type direction int

const (
	toTarget direction = iota
	toClient
)

// Start opens a link to a host:port on a free port of 127.0.0.1, at which
// nobody has to listen yet. It closes at the end of the test.
func Start(tb testing.TB, target string) *Link {
	tb.Helper()
	l, err := Open(target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(l.Close)
	return l
}

// Open is Start without a test. Close the link when it is not needed any more.
func Open(target string) (*Link, error) {
	p, err := openPort()
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", target, err)
	}
	l := &Link{port: p, target: target, deaf: -1, changed: make(chan struct{}), conns: map[*conn]struct{}{}}
	if err := l.open(); err != nil {
		p.close()
		return nil, fmt.Errorf("link to %s: %w", target, err)
	}
	return l, nil
}

// Address is the host:port to connect to. It stays the same until Close.
func (l *Link) Address() string { return l.port.String() }

// Lead has new connections go to another host:port. Those that stand stay
// where they are; Reset ends them.
func (l *Link) Lead(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// Set gives each direction its fault, for present and new connections.
// Connections that have lost bytes by the fault before are reset.
func (l *Link) Set(towardsTarget, towardsClient Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(towardsTarget, towardsClient)
}

func (l *Link) set(towardsTarget, towardsClient Fault) {
	next := [2]Fault{towardsTarget, towardsClient}
	for c := range l.conns {
		for d := range next {
			if c.lost[d] && next[d].fate != l.faults[d].fate {
				c.reset()
			}
		}
	}
	l.faults = next
	close(l.changed)
	l.changed = make(chan struct{})
}

// Answer says what becomes of new connections. Those that stand stay.
func (l *Link) Answer(a Answer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.setAnswer(a)
}

func (l *Link) setAnswer(a Answer) error {
	if a == l.answer || l.closed {
		return nil
	}
	l.shutPort()
	for c := range l.conns {
		if c.silent {
			c.reset()
		}
	}
	l.answer = a
	return l.open()
}

// open does at the port what the answer asks for.
func (l *Link) open() (err error) {
	switch l.answer {
	case Refuse:
		return nil
	case Ignore:
		l.deaf, err = l.port.deaf()
		return err
	}
	if l.listener, err = l.port.listen(); err != nil {
		return err
	}
	listener := l.listener
	l.all.Go(func() { l.serve(listener) })
	return nil
}

func (l *Link) shutPort() {
	if l.listener != nil {
		endListening(l.listener)
		_ = l.listener.Close()
		l.listener = nil
	}
	if l.deaf >= 0 {
		_ = syscall.Shutdown(l.deaf, syscall.SHUT_RD) // as endListening
		_ = syscall.Close(l.deaf)
		l.deaf = -1
	}
}

// Reset resets every connection that stands; new ones fare as before.
func (l *Link) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reset()
}

func (l *Link) reset() {
	for c := range l.conns {
		c.reset()
	}
}

// Cut resets every connection and refuses new ones, as when the target's
// process has died.
func (l *Link) Cut() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.setAnswer(Refuse)
	l.reset()
	return err
}

// Partition lets no packet through either way: connections stand and are
// silent, new ones get no answer. What was sent meanwhile arrives after Heal.
func (l *Link) Partition() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(Hold, Hold)
	return l.setAnswer(Ignore)
}

// BlackHole swallows all bytes either way, of present and of new connections,
// which are accepted and silent. Heal resets them.
func (l *Link) BlackHole() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(Swallow, Swallow)
	return l.setAnswer(Silent)
}

// Heal lets everything pass again.
func (l *Link) Heal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(Pass, Pass)
	return l.setAnswer(Accept)
}

// Connections is how many stand now, those without a target among them.
func (l *Link) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Lost is how many connections that stand have lost bytes, or the end of a
// stream, so that Heal will reset them.
func (l *Link) Lost() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if c.lost[toTarget] || c.lost[toClient] {
			n++
		}
	}
	return n
}

// Close resets all connections and gives the address away.
func (l *Link) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.shutPort()
	l.reset()
	l.mu.Unlock()
	l.all.Wait()
	l.port.close()
}

// now is the fault of a direction, and a channel that is closed when it may be
// another one.
func (l *Link) now(d direction) (Fault, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.faults[d], l.changed
}
