// Package soak_test has long runs that look for what a short one cannot show:
// capacity that is away for a moment, and what grows. Each has a short form for
// `make test`.
package soak_test

import (
	"os"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
)

// The test binary is also the stand-in for Playwright servers.
func TestMain(m *testing.M) {
	if standin.Command() {
		return
	}
	os.Exit(harness.Main(m))
}
