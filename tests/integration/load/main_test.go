package load_test

import (
	"os"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
)

// The test binary is also the stand-in server: its descriptors and its CPU are
// then its own, not those of the load generator.
func TestMain(m *testing.M) {
	if standin.Command() {
		return
	}
	os.Exit(harness.Main(m))
}
