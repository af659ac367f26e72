package load_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

const (
	lonelyTrips = 300
	lonelyPause = 10 * time.Millisecond
)

// benchLonely measures round trips of one session that is alone, with a pause before
// each: all that they wake up has gone to sleep, as between the calls of a script.
func benchLonely(t *testing.T) { lonely(t, lonelyTrips) }

func lonely(t *testing.T, trips int) {
	r := newRig(t)
	straight := loopback(r.standIn(1, 10))
	proxy, before := r.proxy(), r.haproxy(straight)
	g := newRig(t) // another pool, so that the proxy knows nothing of its worker
	worker, assign := g.worker(10), g.assigner()
	socket := filepath.Join(g.dir, "standin.sock")
	g.runStandIn(standin.Options{Listen: socket})
	behind := g.haproxy("unix@" + socket)
	open := map[string]func() (*ws.Conn, error){
		"TCP, directly":     func() (*ws.Conn, error) { return connect(straight) },
		"TCP, HAProxy":      func() (*ws.Conn, error) { return connect(before.address) },
		"TCP, pwdist-proxy": func() (*ws.Conn, error) { return connect(proxy.address) },
		"Unix, directly":    func() (*ws.Conn, error) { return ws.Dial("unix", socket, "/session", asClient...) },
		"Unix, HAProxy":     func() (*ws.Conn, error) { return ws.Dial("tcp", behind.address, "/session", asClient...) },
		"Unix, pwdist-worker": func() (*ws.Conn, error) {
			more, err := assign()
			if err != nil {
				return nil, err
			}
			return ws.Dial("tcp", worker.address, "/session", slices.Concat(more, asClient)...)
		},
	}
	names := []string{"TCP, directly", "TCP, HAProxy", "TCP, pwdist-proxy", "Unix, directly", "Unix, HAProxy", "Unix, pwdist-worker"}
	conns := map[string]*ws.Conn{}
	for _, name := range names {
		c, err := open[name]()
		require.NoError(t, err, name)
		conns[name] = c
		defer func() { _ = c.Close() }()
	}
	payload := bytes.Repeat([]byte("0123456789"), smallSize/10)
	message := ws.AppendMasked(nil, ws.Binary, payload)
	took := map[string][]float64{}
	b := make([]byte, len(payload))
	for range trips {
		for _, name := range names {
			<-time.After(lonelyPause)
			c, began := conns[name], time.Now()
			_, err := c.Write(message)
			require.NoError(t, err)
			h, err := next(c)
			require.NoError(t, err)
			require.NoError(t, c.Take(h, b))
			took[name] = append(took[name], float64(time.Since(began).Nanoseconds())/1e3)
		}
	}
	fmt.Printf("\n| one session alone, %d bytes every %s | p50 µs | p90 µs |\n|---|---|---|\n", smallSize, lonelyPause)
	for _, name := range names {
		slices.Sort(took[name])
		fmt.Printf("| %s | %.0f | %.0f |\n", name, median(took[name]), took[name][trips*9/10])
	}
	fmt.Println()
}
