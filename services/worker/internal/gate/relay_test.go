package gate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// frame is a message of one frame.
func frame(payload []byte, masked bool) []byte {
	var mask byte
	if masked {
		mask = 0x80
	}
	b := []byte{0x82}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if masked {
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, payload...)
}

// stream is a number of messages of random sizes, in one piece.
func stream(rnd *rand.Rand, messages, largest int, masked bool) []byte {
	var b []byte
	filler := rand.NewChaCha8([32]byte{byte(rnd.Uint32())})
	for range messages {
		payload := make([]byte, rnd.IntN(largest))
		_, _ = filler.Read(payload)
		b = append(b, frame(payload, masked)...)
	}
	return b
}

// pour writes b in chunks of random sizes.
func pour(t *testing.T, w io.Writer, b []byte, rnd *rand.Rand) {
	for len(b) > 0 {
		n := min(len(b), 1+rnd.IntN(100_000))
		if _, err := w.Write(b[:n]); err != nil {
			t.Error(err)
			return
		}
		b = b[n:]
	}
}

// sip reads to the end in small pieces, resting now and then so that what is
// on its way fills every buffer.
func sip(t *testing.T, r io.Reader, rnd *rand.Rand) []byte {
	var got []byte
	b := make([]byte, 32<<10)
	for {
		n, err := r.Read(b[:1+rnd.IntN(len(b))])
		got = append(got, b[:n]...)
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			return got
		}
		if rnd.IntN(50) == 0 {
			<-time.After(time.Duration(rnd.IntN(3)) * time.Millisecond)
		}
	}
}

func TestEveryByteSentBeforeACloseArrives(t *testing.T) { // I8
	for seed := range uint64(4) {
		for _, by := range []string{"client", "server"} {
			t.Run(fmt.Sprint(by, seed), func(t *testing.T) {
				t.Parallel()
				r := newRigOf(t, func(*Options) {})
				client, server := r.open("s")
				rnd := rand.New(rand.NewPCG(seed, 1))
				sent := stream(rnd, 60, 100_000, by == "client")
				from, to := client, server
				if by == "server" {
					from, to = server, client
				}
				var pouring sync.WaitGroup
				writer, reader := rand.New(rand.NewPCG(seed, 2)), rand.New(rand.NewPCG(seed, 3))
				pouring.Go(func() {
					pour(t, from, sent, writer)
					_ = from.Close() // at once, while most is still on its way
				})
				read := make(chan struct{})
				if by == "server" {
					// What the client says into the void must not cost it what is on its way.
					pouring.Go(func() {
						for {
							select {
							case <-read:
								return
							case <-time.After(time.Millisecond):
								_, _ = client.Write(frame([]byte("anybody there?"), true))
							}
						}
					})
				}
				got := sip(t, to, reader)
				close(read)
				pouring.Wait()
				require.True(t, bytes.Equal(sent, got), "%d bytes were sent and %d came", len(sent), len(got))
				_ = to.Close()
				e := r.waitEnd()
				if by == "client" {
					require.Equal(t, "client_closed", e.Reason)
					require.EqualValues(t, len(sent), e.BytesUp)
					require.EqualValues(t, 60, e.MessagesUp)
				} else {
					require.Equal(t, "worker_closed", e.Reason)
					require.EqualValues(t, len(sent), e.BytesDown)
					require.EqualValues(t, 60, e.MessagesDown)
				}
			})
		}
	}
}

func TestBothWaysAtOnce(t *testing.T) { // I8
	r := newRig(t, func(*Options) {})
	client, server := r.open("s")
	up := stream(rand.New(rand.NewPCG(1, 1)), 200, 50_000, true)
	down := stream(rand.New(rand.NewPCG(1, 2)), 200, 50_000, false)
	var gotUp, gotDown []byte
	var all sync.WaitGroup
	all.Go(func() {
		pour(t, client, up, rand.New(rand.NewPCG(1, 3)))
		client.closeWrite()
	})
	all.Go(func() {
		pour(t, server, down, rand.New(rand.NewPCG(1, 4)))
		server.closeWrite()
	})
	all.Go(func() { gotUp = sip(t, server, rand.New(rand.NewPCG(1, 5))) })
	all.Go(func() { gotDown = sip(t, client, rand.New(rand.NewPCG(1, 6))) })
	all.Wait()
	require.True(t, bytes.Equal(up, gotUp))
	require.True(t, bytes.Equal(down, gotDown))
	e := r.waitEnd()
	require.EqualValues(t, 200, e.MessagesUp)
	require.EqualValues(t, 200, e.MessagesDown)
}

func TestWhoClosesFirstIsTheReason(t *testing.T) {
	bye := wsframe.AppendClose(nil, 1000, "", false)
	for name, c := range map[string]struct {
		do     func(r *rig, client, server *wire)
		reason string
	}{
		"the client, without a word": {func(_ *rig, client, _ *wire) { _ = client.Close() }, "client_closed"},
		"the client, by a reset": {func(_ *rig, client, _ *wire) {
			_ = client.Conn.(*net.TCPConn).SetLinger(0)
			_ = client.Close()
		}, "client_closed"},
		"the client, with a frame": {func(_ *rig, client, server *wire) {
			client.send(string(wsframe.AppendClose(nil, 1000, "", true)))
			_, _ = server.in.Peek(6)
			server.send(string(bye)) // a server answers and closes the connection, as the protocol has it
			_ = server.Close()
		}, "client_closed"},
		"the server, with a frame": {func(_ *rig, client, server *wire) {
			server.send(string(bye))
			_, _ = client.in.Peek(len(bye))
			_ = client.Close()
		}, "worker_closed"},
		"the server, that lives on": {func(r *rig, client, server *wire) {
			_ = server.Close()
			require.Empty(r.t, client.takeEnd())
		}, "worker_closed"},
		"the server, that dies": {func(r *rig, client, server *wire) {
			_ = server.Close()
			require.Empty(r.t, client.takeEnd()) // the client hears of it before anybody knows why
			close(r.over)
		}, "browser_crashed"},
		"the server, while the client writes": {func(r *rig, client, server *wire) {
			_ = server.Close()
			close(r.over)
			for range 100 {
				if _, err := client.Write(frame(make([]byte, 1000), true)); err != nil {
					return
				}
			}
		}, "browser_crashed"},
		"the server, which was killed because it hung": {func(r *rig, client, server *wire) {
			r.hung.Store(true)
			close(r.over)
			_ = server.Close()
			require.Empty(r.t, client.takeEnd())
		}, "browser_hung"},
		"the worker": {func(r *rig, client, _ *wire) {
			r.end("s", Ending{Reason: "worker_drained", Text: "going"})
			client.take(string(wsframe.AppendClose(nil, 1001, "going", false)))
			require.Empty(r.t, client.takeEnd())
		}, "worker_drained"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			client, server := r.open("s")
			c.do(r, client, server)
			_ = client.Close()
			_, _ = io.Copy(io.Discard, server.in)
			_ = server.Close()
			require.Equal(t, c.reason, r.waitEnd().Reason)
			select {
			case e := <-r.ended:
				t.Fatalf("a second end: %v", e)
			default:
			}
		})
	}
}

// end has the worker end a session.
func (r *rig) end(session string, e Ending) {
	r.mu.Lock()
	end := r.endings[session]
	r.mu.Unlock()
	end(e)
}

func TestAClientThatNeverClosesIsNotWaitedForForEver(t *testing.T) { // I3
	r := newRig(t, func(*Options) {})
	client, server := r.open("s")
	close(r.over)
	_ = server.Close()
	require.Empty(t, client.takeEnd()) // and leaves its own side open
	began := time.Now()
	require.Equal(t, "browser_crashed", r.waitEnd().Reason)
	require.Less(t, time.Since(began), 2*linger)
}

func TestAClientThatReadsLateGetsEverything(t *testing.T) { // I8
	r := newRig(t, func(*Options) {})
	client, server := r.open("s")
	sent := frame(make([]byte, 1<<20), false) // fits into what kernels hold
	server.send(string(sent))
	_ = server.Close()
	<-time.After(linger + time.Second)
	require.Len(t, client.takeEnd(), len(sent))
	_ = client.Close()
	require.EqualValues(t, len(sent), r.waitEnd().BytesDown)
}

func TestACloseFrameWaitsForTheEndOfAFrame(t *testing.T) {
	r := newRig(t, func(*Options) {})
	client, server := r.open("s")
	message := frame(bytes.Repeat([]byte("x"), 1000), false)
	server.send(string(message[:500]))
	client.take(string(message[:500]))
	r.end("s", Ending{Reason: "worker_drained", Text: "going"})
	server.send(string(message[500:]))
	client.take(string(message[500:]) + string(wsframe.AppendClose(nil, 1001, "going", false)))
	_ = client.Close()
	require.Equal(t, "worker_drained", r.waitEnd().Reason)
}

func TestAnEndDoesNotWaitForEver(t *testing.T) {
	for name, prepare := range map[string]func(r *rig, client, server *wire){
		"a frame that never ends": func(_ *rig, client, server *wire) {
			part := frame(make([]byte, 1000), false)[:500]
			server.send(string(part))
			client.take(string(part))
		},
		"no frames at all": func(_ *rig, client, server *wire) {
			server.send("\xff\xff\xff\xff")
			client.take("\xff\xff\xff\xff")
		},
		"a client that does not read": func(_ *rig, _, server *wire) { clog(server) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			client, server := r.open("s")
			prepare(r, client, server)
			began := time.Now()
			r.end("s", Ending{Reason: "worker_drained", Text: "going"})
			require.Equal(t, "worker_drained", r.waitEnd().Reason)
			require.Less(t, time.Since(began), endTime+patience/2)
		})
	}
}

// clog writes until nothing goes any more.
func clog(w *wire) {
	b := frame(make([]byte, 1<<20), false)
	for {
		_ = w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := w.Write(b); err != nil {
			_ = w.SetWriteDeadline(time.Time{})
			return
		}
	}
}

func TestAnEndThatComesBeforeTheFirstByte(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.assign("s")
	client := r.dial(handshake("s", 1))
	server, _ := r.accept()
	// The end is called from within the claim, as early as can be.
	server.send(yes)
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.endings["s"] != nil
	}, patience, time.Microsecond)
	r.end("s", Ending{Reason: "killed", Text: "over"})
	client.take(yes + string(wsframe.AppendClose(nil, 1001, "over", false)))
	_ = client.Close()
	require.Equal(t, "killed", r.waitEnd().Reason)
}

func TestAReaderThatStallsIsCut(t *testing.T) { // I8
	r := newRig(t, func(o *Options) { o.Stall = 300 * time.Millisecond / proxyPatience })
	_, server := r.open("stalled")
	other, otherServer := r.open("other")
	var pouring sync.WaitGroup
	pouring.Go(func() {
		b := frame(make([]byte, 1<<20), false)
		for {
			if _, err := server.Write(b); err != nil {
				return // the gate has hung up
			}
		}
	})
	defer pouring.Wait()
	// The other session does not feel it.
	otherServer.send("x")
	other.take("x")
	require.Equal(t, "stalled", r.waitEnd().Reason)
	otherServer.send("y")
	other.take("y")
}

// The server is beside the gate, with nothing between them that reads in bursts: it gets no more
// than the stall limit.
func TestAServerThatStallsIsCutAtTheLimit(t *testing.T) { // I8
	const stall = 5 * patience / 4 / proxyPatience // what a client may take is longer than the patience
	r := newRig(t, func(o *Options) { o.Stall = stall })
	client, _ := r.open("stalled")
	var pouring sync.WaitGroup
	pouring.Go(func() {
		b := frame(make([]byte, 1<<20), true)
		for {
			if _, err := client.Write(b); err != nil {
				return // the gate has hung up
			}
		}
	})
	require.Equal(t, "stalled", r.waitEnd().Reason)
	pouring.Wait()
}

func TestAReaderThatStallsOverAFewBytesIsCut(t *testing.T) { // I8
	r := newRig(t, func(o *Options) { o.Stall = 100 * time.Millisecond / proxyPatience })
	client, server := r.open("s")
	_ = client.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	server.send(string(frame(make([]byte, 256<<10), false))) // which the kernel takes
	require.Equal(t, "stalled", r.waitEnd().Reason)
}

// Between a slow client and the gate is a proxy, which reads nothing at all for longer
// than the stall limit, and then goes on.
func TestAProxyThatReadsInBurstsIsNotCut(t *testing.T) { // I8
	const stall = 500 * time.Millisecond
	r := newRig(t, func(o *Options) { o.Stall = stall })
	client, server := r.open("s")
	sent := frame(make([]byte, 24<<20), false)
	var pouring sync.WaitGroup
	pouring.Go(func() {
		_, err := server.Write(sent)
		if err != nil {
			t.Error(err)
		}
		_ = server.Close()
	})
	// Longer in all than what cuts a proxy that takes nothing.
	const pauses = proxyPatience + 1
	var got int
	b := make([]byte, len(sent)/pauses)
	for {
		<-time.After(3 * stall / 2)
		n, err := io.ReadFull(client.in, b)
		got += n
		if err != nil {
			break
		}
	}
	pouring.Wait()
	require.Equal(t, len(sent), got)
}

func TestBytesThatAreNoFramesAreMovedAllTheSame(t *testing.T) {
	r := newRig(t, func(*Options) {})
	client, server := r.open("s")
	client.send("\xff\xfe\x00 no WebSocket frame")
	server.take("\xff\xfe\x00 no WebSocket frame")
	server.send("\x73neither")
	client.take("\x73neither")
	_ = client.Close()
	require.Empty(t, server.takeEnd())
	_ = server.Close()
	e := r.waitEnd()
	require.Equal(t, "client_closed", e.Reason)
	require.EqualValues(t, 22, e.BytesUp)
	require.EqualValues(t, 8, e.BytesDown)
	require.Zero(t, e.MessagesUp+e.MessagesDown)
}

func TestAnIdleSessionHoldsNoBuffer(t *testing.T) { // I8
	const sessions = 100
	r := newRig(t, func(o *Options) { o.Slots = sessions })
	before := heap()
	clients := make([]*wire, sessions)
	servers := make([]*wire, sessions)
	for i := range sessions {
		clients[i], servers[i] = r.open(fmt.Sprint("s", i))
	}
	big := string(frame(make([]byte, bufferSize), false))
	for i := range sessions {
		servers[i].send(big)
		clients[i].take(big)
		clients[i].send("x")
		servers[i].take("x")
	}
	grown := int64(heap()) - int64(before)
	require.Less(t, grown, int64(sessions*bufferSize/2))
	runtime.KeepAlive(clients)
	runtime.KeepAlive(servers)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // a pool keeps what it has over one collection
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{200, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := newRigOf(b, func(*Options) {})
			client, server := r.open("s")
			_, _ = client.SetDeadline(time.Time{}), server.SetDeadline(time.Time{})
			message := frame(make([]byte, size), false)
			go func() {
				_, _ = io.Copy(server.Conn, server.Conn)
			}()
			got := make([]byte, len(message))
			b.SetBytes(int64(2 * len(message)))
			b.ReportAllocs()
			for b.Loop() {
				go func() { _, _ = client.Write(message) }()
				if _, err := io.ReadFull(client.Conn, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
