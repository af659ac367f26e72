package state_test

import (
	"math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// own is a redis-server of one test.
type own struct {
	client rueidis.Client
	port   string
}

func newOwn(t *testing.T) own {
	t.Helper()
	// Below the ports of connections, of which there may be few left.
	var port string
	var l net.Listener
	var err error
	for l == nil {
		port = strconv.Itoa(20_000 + rand.IntN(12_000))
		l, err = net.Listen("tcp", "127.0.0.1:"+port)
		require.NoError(t, t.Context().Err())
	}
	require.NoError(t, l.Close())
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir(),
		"--repl-diskless-sync-delay", "0")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	o := own{port: port}
	require.Eventually(t, func() bool {
		o.client, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{"127.0.0.1:" + port}, DisableCache: true, DisableRetry: true})
		return err == nil
	}, 20*time.Second, 5*time.Millisecond)
	t.Cleanup(o.client.Close)
	return o
}

// follow has o take its data over from another one, or from nobody any more.
func (o own) follow(t *testing.T, master *own) {
	t.Helper()
	host, port := "NO", "ONE"
	if master != nil {
		host, port = "127.0.0.1", master.port
	}
	require.NoError(t, o.client.Do(ctx, o.client.B().Arbitrary("REPLICAOF", host, port).Build()).Error())
	if master == nil {
		return
	}
	require.Eventually(t, func() bool {
		info, err := o.client.Do(ctx, o.client.B().Info().Section("replication").Build()).ToString()
		return err == nil && strings.Contains(info, "master_link_status:up")
	}, 30*time.Second, 5*time.Millisecond)
}

// A master that was cut off is given the data of the one that took its place. What
// its functions know of a worker is of the same revision of another history.
func TestAnotherHistoryOfOneRevision(t *testing.T) {
	a, b := newOwn(t), newOwn(t)
	p := openPool(t, a.client, options())
	p.forget()
	p.join(worker("w1", 3))
	p.acquire("s0")
	b.follow(t, &a)
	b.follow(t, nil)

	sick := state.Beat{Worker: "w1", Number: 2, State: state.Unhealthy}
	for range 2 { // the second time, it is known what the first one made of it
		_, err := p.Heartbeat(ctx, sick)
		require.NoError(t, err)
		sick.Number++
	}
	there, err := state.New(b.client, p.k, p.Options(), nil)
	require.NoError(t, err)
	other := worker("w2", 1)
	other.Browser = "firefox"
	reply, err := there.Join(ctx, state.JoinRequest{Worker: other, State: state.Ready, Number: 1})
	require.NoError(t, err)
	rev := func(c rueidis.Client) string {
		head, err := c.Do(ctx, c.B().Get().Key(p.k.Head()).Build()).ToString()
		require.NoError(t, err)
		return strings.Fields(head)[2]
	}
	require.Equal(t, strconv.FormatInt(reply.Rev, 10), rev(a.client), "the same revision")

	a.follow(t, &b)
	a.follow(t, nil)
	for _, id := range []string{"s1", "s2"} {
		require.Equal(t, state.Assigned, p.acquire(id).Phase, "w1 is ready there, with three slots")
	}
}
