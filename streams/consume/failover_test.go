package consume_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// crossing is an address that leads where it is told. Connections stay where they
// were led, as behind a name or a balancer that has moved on.
type crossing struct {
	addr string
	to   atomic.Pointer[string]
}

func newCrossing(t *testing.T, to string) *crossing {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &crossing{addr: l.Addr().String()}
	c.to.Store(&to)
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", *c.to.Load())
			if err != nil {
				_ = in.Close()
				continue
			}
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_, _ = to.Close(), from.Close()
			}
			all.Go(func() { pass(in, out) })
			all.Go(func() { pass(out, in) })
		}
	})
	return c
}

// twin starts a replica of the pool's Redis and waits until it has caught up.
func (p *pool) twin() *pool {
	p.t.Helper()
	p.do("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	twin := newPool(p.t)
	twin.n = p.n
	host, port, err := net.SplitHostPort(p.server.Addr)
	require.NoError(p.t, err)
	twin.do("REPLICAOF", host, port)
	require.Eventually(p.t, func() bool {
		info, err := twin.do("INFO", "replication").ToString()
		require.NoError(p.t, err)
		return contains(info, "master_link_status:up\r\n")
	}, patience, 5*time.Millisecond)
	n, err := p.do("WAIT", "1", "20000").AsInt64()
	require.NoError(p.t, err)
	require.EqualValues(p.t, 1, n)
	return twin
}

// TestGroupLeavesARedisThatWasDemoted: it answers and keeps its clients, and takes
// nothing that a group writes.
func TestGroupLeavesARedisThatWasDemoted(t *testing.T) {
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("busy %t", busy), func(t *testing.T) {
			p := newPool(t)
			crossing := newCrossing(t, p.server.Addr)
			client, err := consume.Connect("redis://" + crossing.addr)
			require.NoError(t, err)
			t.Cleanup(client.Close)
			s := newSink(p)
			s.group.Client, s.group.Block, s.group.ClaimIdle = client, time.Minute, time.Minute
			begun, goOn := make(chan struct{}), make(chan struct{})
			s.handle = func(_ context.Context, e event.Event) error {
				if busy && e.Session.ID == "s1" {
					close(begun)
					<-goOn
				}
				return nil
			}
			s.run()
			p.blocked(1)
			p.write(1)
			if busy {
				// The connection of the blocking read is not in use, so Redis does
				// not close it.
				<-begun
			} else {
				require.Equal(t, names(1, 1), s.take(1))
				p.blocked(1)
			}

			next := p.twin()
			next.do("REPLICAOF", "NO", "ONE")
			crossing.to.Store(&next.server.Addr)
			host, port, err := net.SplitHostPort(next.server.Addr)
			require.NoError(t, err)
			p.do("REPLICAOF", host, port)
			close(goOn)
			next.blocked(1)
			next.write(1)
			want := names(2, 2)
			if busy {
				want = names(1, 2)
			}
			require.Eventually(t, func() bool { return len(s.got) == len(want) }, patience, 5*time.Millisecond)
			for _, id := range want {
				require.Equal(t, id, <-s.got)
			}
			next.allAcked()
		})
	}
}

// TestTailTellsOfAFailoverAfterWhichTheLogHasGrown: it is as long again as what
// was read of it.
func TestTailTellsOfAFailoverAfterWhichTheLogHasGrown(t *testing.T) {
	p, next := newPool(t), newPool(t)
	write := func(p *pool, from, to, first int) {
		for i := from; i <= to; i++ {
			p.session(strconv.Itoa(i), fmt.Sprintf("%d-0", first+i))
		}
	}
	write(p, 1, 5, 100)
	write(next, 1, 3, 100)
	write(next, 6, 9, 200)
	crossing := newCrossing(t, p.server.Addr)
	client, err := consume.Connect("redis://" + crossing.addr)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	f := follow(t, consume.Tail(testContext(t), client, "default", consume.Beginning(), consume.WithBlock(time.Minute)))
	require.Equal(t, names(1, 5), f.sessions(5))

	// A connection that is lost is no failover yet.
	p.meanwhile(func() {
		p.blocked(1)
		p.do("CLIENT", "KILL", "TYPE", "normal")
		p.blocked(1)
		write(p, 10, 10, 100)
	})
	require.Equal(t, names(10, 10), f.sessions(1))

	p.meanwhile(func() {
		p.blocked(1)
		crossing.to.Store(&next.server.Addr)
		p.do("CLIENT", "KILL", "TYPE", "normal")
	})
	var gap *consume.GapError
	require.ErrorAs(t, f.err(), &gap)
	require.Equal(t, consume.RolledBack, gap.Kind)
	require.Equal(t, "110-0", gap.After)
	require.Equal(t, names(6, 9), f.sessions(4))
}
