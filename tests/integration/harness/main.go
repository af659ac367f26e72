package harness

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// Main runs the tests and then makes sure that they left no process behind.
// TestMain calls it and exits with what it returns.
func Main(m *testing.M) int {
	if err := adoptOrphans(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	stopDriver()
	var left []Proc
	if !holds(5*time.Second, func() bool { left = Descendants(os.Getpid()); return len(left) == 0 }) {
		code = 1
		for _, p := range left {
			fmt.Fprintln(os.Stderr, "left behind:", p)
			_ = p.Kill()
		}
	}
	if err := os.RemoveAll(scratch()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}
