// Package compose_test looks at a pool that runs in containers, on a real
// Docker Engine: `make test-compose`. Without PWDIST_TEST_COMPOSE only what
// needs no engine runs.
package compose_test

import (
	"os"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
