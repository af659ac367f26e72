package faulttable_test

import (
	"os"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
