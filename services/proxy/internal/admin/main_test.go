package admin

import (
	"os"
	"testing"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/redistest"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
)

// client is of the redis-server that the tests of the package share.
var client redisx.Client

func TestMain(m *testing.M) {
	os.Exit(redistest.Run(func(c redisx.Client) int {
		client = c
		return m.Run()
	}))
}
