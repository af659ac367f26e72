package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Below the range from which the system takes ports for outgoing connections,
// so that nobody takes one between a process and its restart.
const firstPort, lastPort = 20000, 32000

var ports struct {
	mu    sync.Mutex
	given map[int]bool
}

// Port returns a free loopback port that this test binary has not handed out
// before.
func Port(tb testing.TB) int {
	tb.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 1000 {
		p := firstPort + rand.IntN(lastPort-firstPort)
		if ports.given[p] || !free(fmt.Sprintf("127.0.0.1:%d", p)) {
			continue
		}
		ports.given[p] = true
		return p
	}
	tb.Fatal("found no free port")
	return 0
}

func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Listens tells whether somebody accepts connections at an address.
func Listens(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
