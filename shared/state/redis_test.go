package state_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func dial(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	return d.DialContext(ctx, "unix", path)
}

func connect(t testing.TB) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server}, DialCtxFn: dial, DisableCache: true, ForceSingleClient: true})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

var pools atomic.Int64

// pool is a fresh pool with what a test needs to look into it.
type pool struct {
	t testing.TB
	c rueidis.Client
	k keys.Pool
	*state.Store
}

func newPool(t testing.TB, change ...func(*state.Options)) *pool {
	t.Helper()
	k, err := keys.For(fmt.Sprintf("t%d", pools.Add(1)))
	require.NoError(t, err)
	o := state.DefaultOptions()
	for _, f := range change {
		f(&o)
	}
	c := connect(t)
	s, err := state.New(c, k, o, nil)
	require.NoError(t, err)
	return &pool{t: t, c: c, k: k, Store: s}
}

// do runs a plain command.
func (p *pool) do(args ...string) rueidis.RedisResult {
	p.t.Helper()
	return p.c.Do(context.Background(), p.c.B().Arbitrary(args[0]).Args(args[1:]...).Build())
}
