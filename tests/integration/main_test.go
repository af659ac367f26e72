// Package integration_test looks at a pool from outside: real programs, real
// browsers, stock clients. A test that runs processes gets them from
// [harness.New], whose pool also checks itself when the test is over.
//
// With -short only what needs no browser runs.
package integration_test

import (
	"os"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
