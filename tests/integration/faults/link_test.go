package faults_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/faults"
)

// patience is for what must happen, and only a failure waits for it; short is
// how long a test watches that something does not.
const (
	patience = 20 * time.Second
	short    = 100 * time.Millisecond
)

// server accepts connections and hands them to the test.
type server struct {
	address string
	conns   chan *net.TCPConn
}

func serve(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{address: l.Addr().String(), conns: make(chan *net.TCPConn, 100)}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns <- c.(*net.TCPConn)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
	})
	return s
}

// next is the far end of the connection that the test has made.
func (s *server) next(t *testing.T) *net.TCPConn {
	t.Helper()
	select {
	case c := <-s.conns:
		t.Cleanup(func() { _ = c.Close() })
		return c
	case <-time.After(patience):
		t.Fatal("no connection has come through")
		return nil
	}
}

func dial(t *testing.T, l *faults.Link) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", l.Address(), patience)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func arrives(t *testing.T, c net.Conn, text string) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	b := make([]byte, len(text))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	require.Equal(t, text, string(b))
}

func silence(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(short)))
	n, err := c.Read(make([]byte, 1))
	require.Zero(t, n)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "neither bytes nor an end")
}

func ends(t *testing.T, c net.Conn, how error) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, how)
}

// pair is a link with one connection over it.
func pair(t *testing.T) (l *faults.Link, client, far *net.TCPConn) {
	t.Helper()
	s := serve(t)
	l = faults.Start(t, s.address)
	client = dial(t, l)
	far = s.next(t)
	return l, client, far
}

func TestPassesBothWaysAndEachEnd(t *testing.T) {
	l, client, far := pair(t)
	send(t, client, "there")
	arrives(t, far, "there")
	require.NoError(t, client.CloseWrite())
	ends(t, far, io.EOF)
	send(t, far, "back")
	arrives(t, client, "back")
	require.NoError(t, far.Close())
	ends(t, client, io.EOF)
	none(t, l)
}

func none(t *testing.T, l *faults.Link) {
	t.Helper()
	require.Eventually(t, func() bool { return l.Connections() == 0 }, patience, time.Millisecond)
}

// lost returns when a connection has lost bytes.
func lost(t *testing.T, l *faults.Link) {
	t.Helper()
	require.Eventually(t, func() bool { return l.Lost() == 1 }, patience, time.Millisecond)
}

func TestPassesAReset(t *testing.T) {
	l, client, far := pair(t)
	require.NoError(t, client.SetLinger(0))
	require.NoError(t, client.Close())
	ends(t, far, syscall.ECONNRESET)
	none(t, l)
}

func TestCarriesBulkUnchanged(t *testing.T) {
	_, client, far := pair(t)
	const size = 20 << 20
	want := make([]byte, size)
	_, _ = rand.Read(want)
	go func() {
		_, _ = client.Write(want)
		_ = client.CloseWrite()
	}()
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
}

func TestHoldLosesNothing(t *testing.T) {
	l, client, far := pair(t)
	l.Set(faults.Hold, faults.Pass)
	send(t, client, "held")
	require.NoError(t, client.CloseWrite())
	silence(t, far)
	send(t, far, "other way")
	arrives(t, client, "other way")
	l.Set(faults.Pass, faults.Pass)
	arrives(t, far, "held")
	ends(t, far, io.EOF)
}

func TestSwallowEndsOnlyTheConnectionsThatLostBytes(t *testing.T) {
	s := serve(t)
	l := faults.Start(t, s.address)
	loser := dial(t, l)
	farLoser := s.next(t)
	idle := dial(t, l)
	farIdle := s.next(t)
	l.Set(faults.Pass, faults.Swallow)
	send(t, farLoser, "gone")
	lost(t, l)
	silence(t, loser)
	send(t, loser, "other way")
	arrives(t, farLoser, "other way")
	l.Set(faults.Pass, faults.Pass)
	ends(t, loser, syscall.ECONNRESET)
	ends(t, farLoser, syscall.ECONNRESET)
	send(t, farIdle, "whole")
	arrives(t, idle, "whole")
}

func TestShutIsHalfAnEnd(t *testing.T) {
	l, client, far := pair(t)
	l.Set(faults.Pass, faults.Shut)
	ends(t, client, io.EOF)
	send(t, far, "into nothing")
	send(t, client, "other way")
	arrives(t, far, "other way")
	require.NoError(t, l.Heal())
	ends(t, far, syscall.ECONNRESET)
	none(t, l)
}

// A delay below which nothing may arrive cannot fail by a busy machine.
func TestDelay(t *testing.T) {
	l, client, far := pair(t)
	const by = 150 * time.Millisecond
	l.Set(faults.Delay(by), faults.Pass)
	begin := time.Now()
	send(t, client, "late")
	arrives(t, far, "late")
	require.GreaterOrEqual(t, time.Since(begin), by)

	l.Set(faults.Delay(time.Hour), faults.Pass)
	send(t, client, "at once")
	l.Set(faults.Pass, faults.Pass)
	arrives(t, far, "at once")
}

func TestThrottle(t *testing.T) {
	l, client, far := pair(t)
	l.Set(faults.Pass, faults.Throttle(100_000))
	text := string(bytes.Repeat([]byte("x"), 20_000))
	begin := time.Now()
	send(t, far, text)
	arrives(t, client, text)
	require.GreaterOrEqual(t, time.Since(begin), 200*time.Millisecond)
}

func TestCutResetsAndRefuses(t *testing.T) {
	l, client, far := pair(t)
	require.NoError(t, l.Cut())
	ends(t, client, syscall.ECONNRESET)
	ends(t, far, syscall.ECONNRESET)
	_, err := net.DialTimeout("tcp4", l.Address(), patience)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Zero(t, l.Connections())
	require.NoError(t, l.Heal())
	dial(t, l)
}

// A port opens again at once, also while processes are started, which have its
// socket for a moment.
func TestPortOpensAgainAtOnce(t *testing.T) {
	l := faults.Start(t, serve(t).address)
	ctx, cancel := context.WithCancel(t.Context())
	var starting sync.WaitGroup
	defer starting.Wait()
	defer cancel()
	for range 4 {
		starting.Go(func() {
			for ctx.Err() == nil {
				_ = exec.CommandContext(ctx, "true").Run() // the last one may be killed
			}
		})
	}
	for range 100 {
		for _, a := range []faults.Answer{faults.Silent, faults.Accept, faults.Ignore, faults.Accept} {
			require.NoError(t, l.Answer(a))
		}
	}
}

func TestResetSparesNewConnections(t *testing.T) {
	s := serve(t)
	l := faults.Start(t, s.address)
	client := dial(t, l)
	s.next(t)
	l.Reset()
	ends(t, client, syscall.ECONNRESET)
	client = dial(t, l)
	send(t, client, "x")
	arrives(t, s.next(t), "x")
}

func TestBlackHole(t *testing.T) {
	s := serve(t)
	l := faults.Start(t, s.address)
	client := dial(t, l)
	far := s.next(t)
	require.NoError(t, l.BlackHole())
	send(t, client, "gone")
	lost(t, l)
	silence(t, far)
	late := dial(t, l)
	send(t, late, "gone")
	silence(t, late)
	require.Empty(t, s.conns, "nothing reaches the target")
	require.NoError(t, l.Heal())
	ends(t, client, syscall.ECONNRESET)
	ends(t, late, syscall.ECONNRESET)
	none(t, l)
}

func TestPartition(t *testing.T) {
	s := serve(t)
	l := faults.Start(t, s.address)
	client := dial(t, l)
	far := s.next(t)
	require.NoError(t, l.Partition())
	send(t, client, "held")
	silence(t, far)
	_, err := net.DialTimeout("tcp4", l.Address(), short)
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "no answer to the handshake: %v", err)
	type result struct {
		conn net.Conn
		err  error
	}
	patient := make(chan result, 1)
	go func() {
		c, err := net.DialTimeout("tcp4", l.Address(), patience)
		patient <- result{c, err}
	}()
	select {
	case r := <-patient:
		t.Fatalf("a handshake came through: %v", r.err)
	case <-time.After(short):
	}
	require.NoError(t, l.Heal())
	arrives(t, far, "held")
	r := <-patient
	require.NoError(t, r.err)
	_ = r.conn.Close()
}

func TestLeadsElsewhere(t *testing.T) {
	first, second := serve(t), serve(t)
	l := faults.Start(t, first.address)
	old := dial(t, l)
	farOld := first.next(t)
	l.Lead(second.address)
	send(t, dial(t, l), "new")
	arrives(t, second.next(t), "new")
	send(t, old, "old")
	arrives(t, farOld, "old")
}

func TestNobodyListensAtTheTarget(t *testing.T) {
	s := serve(t)
	dead, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	l := faults.Start(t, dead.Addr().String())
	require.NoError(t, dead.Close())
	// The reset may come before the dialling has ended.
	if c, err := net.DialTimeout("tcp4", l.Address(), patience); err == nil {
		ends(t, c, syscall.ECONNRESET)
		_ = c.Close()
	} else {
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	l.Lead(s.address)
	dial(t, l)
	s.next(t)
}

// Everything at once, for the race detector: a stream that lost nothing is a
// prefix of what was sent, whatever the faults do meanwhile.
func TestArrivesAsAPrefixWhateverHappens(t *testing.T) {
	s := serve(t)
	l := faults.Start(t, s.address)
	want := make([]byte, 1<<20)
	_, _ = rand.Read(want)
	settings := []func(){
		func() { l.Set(faults.Hold, faults.Pass) },
		func() { l.Set(faults.Swallow, faults.Hold) },
		func() { l.Set(faults.Delay(time.Millisecond), faults.Shut) },
		func() { l.Set(faults.Throttle(50_000_000), faults.Swallow) },
		func() { _ = l.Cut() },
		func() { _ = l.BlackHole() },
		func() { _ = l.Answer(faults.Silent) },
		l.Reset,
	}
	var clients sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				c, err := net.DialTimeout("tcp4", l.Address(), time.Second)
				if err != nil {
					continue
				}
				_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = c.Write(want)
				_ = c.Close()
			}
		})
	}
	var readers sync.WaitGroup
	reader := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case c := <-s.conns:
				readers.Go(func() {
					_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
					got, _ := io.ReadAll(c)
					_ = c.Close()
					if !bytes.HasPrefix(want, got) {
						t.Errorf("%d bytes arrived that are no prefix", len(got))
					}
				})
			case <-reader:
				return
			}
		}
	})
	for range 3 {
		for _, set := range settings {
			set()
			tick := time.NewTimer(5 * time.Millisecond)
			<-tick.C
			require.NoError(t, l.Heal())
		}
	}
	close(done)
	clients.Wait()
	l.Close()
	close(reader)
	readers.Wait()
}
