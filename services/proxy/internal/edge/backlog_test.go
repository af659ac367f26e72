package edge

import (
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/lesismal/nbio"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// held is a port that accepts one connection and no further one until proceed is called.
func held(t *testing.T) (p *port, clients []*net.TCPConn, proceed func()) {
	gate, met := make(chan struct{}), make(chan struct{}, 64)
	p = serve(t, func(o *Options) {
		o.opened = func(*nbio.Conn) { met <- struct{}{}; <-gate }
	})
	first := p.dial()
	receive(t, met)
	for range 20 {
		clients = append(clients, p.send(upgrade("/", stock...)))
	}
	return p, clients, func() {
		_ = first.Close() // it would be waited for, as it has asked nothing
		close(gate)
	}
}

// Clients that the kernel has connected and nobody has accepted are told of the end.
// Whoever comes later meets a closed port.
func TestDrainAnswersTheBacklog(t *testing.T) {
	p, clients, proceed := held(t)
	drained := make(chan struct{})
	go func() { p.Drain(); close(drained) }()
	receive(t, p.listener.ending)
	p.listener.until = time.Now().Add(patience) // nobody looks at it before they proceed
	proceed()
	receive(t, drained)
	_, err := net.Dial("tcp", p.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	for _, c := range clients {
		r, _ := answer(t, c)
		require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
		require.Equal(t, string(refusal.Draining), r.Header.Get(refusal.HeaderCode))
	}
	require.Empty(t, p.upgrades)
}

// A client that was accepted just before the end is told of it as well, if its request comes soon.
func TestDrainAnswersWhoHasJustCome(t *testing.T) {
	opened := make(chan struct{}, 1)
	p := serve(t, func(o *Options) { o.opened = func(*nbio.Conn) { opened <- struct{}{} } })
	p.listener.sweep = patience
	c := p.dial()
	receive(t, opened)
	drained := make(chan struct{})
	go func() { p.Drain(); close(drained) }()
	receive(t, p.listener.quiet)
	select {
	case <-drained:
		t.Fatal("it was not waited for")
	case <-time.After(sweepTime / 10): // its request is on its way
	}
	_, err := io.WriteString(c, upgrade("/", stock...))
	require.NoError(t, err)
	r, _ := answer(t, c)
	require.Equal(t, string(refusal.Draining), r.Header.Get(refusal.HeaderCode))
	receive(t, drained)
}

// A client that says nothing holds up an end for no longer than one that has just come may need.
func TestDrainLeavesTheSilent(t *testing.T) {
	opened := make(chan struct{}, 1)
	p := serve(t, func(o *Options) { o.opened = func(*nbio.Conn) { opened <- struct{}{} } })
	p.listener.sweep = 3 * time.Second
	p.dial()
	receive(t, opened)
	<-time.After(p.listener.sweep)
	p.Drain()
	require.True(t, time.Now().Before(p.listener.until))
}

// Where another process has the socket, its clients are left to it.
func TestLeaveKeepsTheBacklog(t *testing.T) {
	p, clients, proceed := held(t)
	file, err := p.Socket().File()
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	p.Leave()
	proceed()
	p.Drain()
	next := serve(t, func(o *Options) {
		o.Listener, err = net.FileListener(file)
		require.NoError(t, err)
	})
	for range clients {
		receive(t, next.upgrades)
	}
}
