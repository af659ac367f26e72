package sim_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/redisx"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// startRedis runs a Redis of the test's own and returns its URL.
func startRedis(t *testing.T) string {
	t.Helper()
	dir, port := t.TempDir(), harness.Port(t)
	p := harness.Start(t, dir, harness.Command{
		Name: "redis", Path: "redis-server", Dir: dir,
		Args: []string{filepath.Join(harness.Root(), "deploy/local/redis.conf"), "--port", strconv.Itoa(port), "--dir", dir},
	})
	t.Cleanup(func() { _ = p.Terminate(harness.Patience) })
	harness.Await(t, "redis-server listens", func() bool { return harness.Listens("127.0.0.1:" + strconv.Itoa(port)) })
	return "redis://127.0.0.1:" + strconv.Itoa(port) + "/0"
}

// host is what one process has of Redis: a connection and the scripts.
type host struct {
	client redisx.Client
	*state.Store
}

func connect(t *testing.T, url string, o state.Options) host {
	t.Helper()
	client, err := redisx.Connect(context.Background(), redisx.Options{Redis: config.Redis{URL: url}, ClientName: "sim"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	pool, err := keys.For("sim")
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.New(client, pool, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return host{client, store}
}

func timing(heartbeat time.Duration) state.Options {
	o := state.DefaultOptions()
	o.Heartbeat, o.ProcessLease, o.StartLease = heartbeat, 3*heartbeat, 3*heartbeat
	o.EventsMaxEntries = 10_000_000 // the checker reads them all
	return o
}
