package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"
)

// Below the range from which the system takes ports for outgoing connections,
// so that nobody takes one between a process and its restart.
const firstPort, lastPort = 20000, 32000

// Port returns a free loopback port that nobody else gets as long as this test
// binary runs, whether somebody listens there or not.
func Port(tb testing.TB) int {
	tb.Helper()
	for range 1000 {
		if p := firstPort + rand.IntN(lastPort-firstPort); keep(p) {
			return p
		}
	}
	tb.Fatal("found no free port")
	return 0
}

// keep takes a port with a socket that never listens and is never closed. It is
// bound before it allows others to share the port: so it fails where there is
// one already, of whatever test binary, while a server, which always allows it,
// can listen.
func keep(port int) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		_ = syscall.Close(fd)
	}
	return err == nil
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
