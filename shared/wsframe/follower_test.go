package wsframe_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// frame builds a frame with the first byte given whole.
func frame(first byte, masked bool, payload []byte) []byte {
	b := []byte{first}
	mask := byte(0)
	if masked {
		mask = 0x80
	}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, mask|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !masked {
		return append(b, payload...)
	}
	key := []byte{0xa1, 0x02, 0xf3, 0x54}
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func TestFollowerReadsStreams(t *testing.T) {
	text := []byte("hello")
	long := bytes.Repeat([]byte{0x81}, 70_000)
	tests := []struct {
		name   string
		stream []byte
		want   outcome
	}{
		{"nothing", nil, outcome{boundary: true}},
		{"text", frame(0x81, false, text), outcome{bytes: 7, frames: 1, messages: 1, boundary: true}},
		{"masked binary", frame(0x82, true, text), outcome{bytes: 11, frames: 1, messages: 1, boundary: true}},
		{"empty masked", frame(0x81, true, nil), outcome{bytes: 6, frames: 1, messages: 1, boundary: true}},
		{"126 bytes", frame(0x81, false, long[:126]), outcome{bytes: 130, frames: 1, messages: 1, boundary: true}},
		{"65535 bytes", frame(0x81, false, long[:0xffff]), outcome{bytes: 4 + 0xffff, frames: 1, messages: 1, boundary: true}},
		{"65536 bytes", frame(0x81, true, long[:1<<16]), outcome{bytes: 14 + 1<<16, frames: 1, messages: 1, boundary: true}},
		{"compressed", frame(0xc1, false, text), outcome{bytes: 7, frames: 1, messages: 1, boundary: true}},
		{
			"fragments with a ping between",
			join(frame(0x01, false, text), frame(0x89, false, text), frame(0x00, false, text), frame(0x80, false, text)),
			outcome{bytes: 28, frames: 4, messages: 1, boundary: true},
		},
		{"between fragments", frame(0x01, false, text), outcome{bytes: 7, frames: 1, boundary: true}},
		{"half a header", []byte{0x81}, outcome{bytes: 1}},
		{"half a payload", frame(0x81, false, text)[:4], outcome{bytes: 4}},
		{"half a length", []byte{0x81, 126, 1}, outcome{bytes: 3}},
		{"half a key", []byte{0x81, 0x80, 1, 2, 3}, outcome{bytes: 5}},
		{"close with status", frame(0x88, false, []byte{0x03, 0xe8, 'b'}), outcome{bytes: 5, frames: 1, boundary: true, closeSeen: true}},
		{"masked close", frame(0x88, true, []byte{0x03, 0xe9}), outcome{bytes: 8, frames: 1, boundary: true, closeSeen: true}},
		{"close without status", frame(0x88, false, nil), outcome{bytes: 2, frames: 1, boundary: true, closeSeen: true}},
		{"close begun", []byte{0x88, 0x02, 0x03}, outcome{bytes: 3, closeSeen: true}},
		{
			"two closes",
			join(frame(0x88, false, []byte{0x03, 0xe8}), frame(0x88, false, []byte{0x03, 0xe9})),
			outcome{bytes: 8, frames: 2, boundary: true, closeSeen: true},
		},
		{
			"an unmasked frame after a masked one",
			join(frame(0x89, true, []byte("x")), frame(0x88, false, []byte{0x03, 0xe8})),
			outcome{bytes: 11, frames: 2, boundary: true, closeSeen: true},
		},
		{"RSV2", []byte{0xa1, 0, 0}, outcome{bytes: 1, err: wsframe.ErrReserved}},
		{"RSV3", []byte{0x91, 0, 0}, outcome{bytes: 1, err: wsframe.ErrReserved}},
		{"opcode 3", []byte{0x83, 0, 0}, outcome{bytes: 1, err: wsframe.ErrReserved}},
		{"opcode 11", []byte{0x8b, 0, 0}, outcome{bytes: 1, err: wsframe.ErrReserved}},
		{"compressed ping", []byte{0xc9, 0, 0}, outcome{bytes: 1, err: wsframe.ErrReserved}},
		{"fragmented ping", []byte{0x09, 0, 0}, outcome{bytes: 1, err: wsframe.ErrControl}},
		{"long ping", []byte{0x89, 126, 0}, outcome{bytes: 2, err: wsframe.ErrControl}},
		{"16-bit length of 125", []byte{0x81, 126, 0, 125, 0}, outcome{bytes: 4, err: wsframe.ErrLength}},
		{"64-bit length of 65535", []byte{0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0}, outcome{bytes: 10, err: wsframe.ErrLength}},
		{"64-bit length with top bit", []byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, outcome{bytes: 10, err: wsframe.ErrLength}},
		{"continuation of nothing", []byte{0x80, 0}, outcome{bytes: 1, err: wsframe.ErrSequence}},
		{"start inside a message", join(frame(0x01, false, nil), frame(0x81, false, nil)), outcome{bytes: 3, frames: 1, err: wsframe.ErrSequence}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, model(tt.stream), "the model itself")
			for _, size := range []int{1, 2, 3, 5, 7, 4096, 1 << 20} {
				require.Equal(t, tt.want, inChunks(tt.stream, size), "in chunks of %d", size)
			}
		})
	}
}

func inChunks(stream []byte, size int) outcome {
	var f wsframe.Follower
	var err error
	for len(stream) > 0 {
		n := min(size, len(stream))
		err = f.Feed(stream[:n])
		stream = stream[n:]
	}
	return observe(&f, err)
}

func TestFollowerStaysBroken(t *testing.T) {
	var f wsframe.Follower
	require.ErrorIs(t, f.Feed([]byte{0x83}), wsframe.ErrReserved)
	before := observe(&f, nil)
	require.ErrorIs(t, f.Feed(frame(0x81, false, []byte("x"))), wsframe.ErrReserved)
	require.ErrorIs(t, f.Feed(nil), wsframe.ErrReserved)
	require.Equal(t, before, observe(&f, nil))
	require.False(t, f.AtBoundary())
}

// TestFollowerAgreesWithModel cuts random streams, most of them valid, at
// random places, and does not show it all of the payloads.
func TestFollowerAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		for range rapid.IntRange(0, 8).Draw(t, "frames") {
			first := rapid.SampledFrom([]byte{0x81, 0x82, 0x01, 0x00, 0x80, 0xc1, 0x88, 0x89, 0x8a, 0x83}).Draw(t, "first")
			size := rapid.SampledFrom([]int{0, 1, 2, 3, 125, 126, 300, 0xffff, 1 << 16}).Draw(t, "size")
			if first >= 0x88 && first < 0x90 {
				size = min(size, 125)
			}
			stream = append(stream, frame(first, rapid.Bool().Draw(t, "masked"), bytes.Repeat([]byte{0x03}, size))...)
		}
		stream = stream[:len(stream)-rapid.IntRange(0, min(9, len(stream))).Draw(t, "missing")]

		var f wsframe.Follower
		var err error
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), rapid.SampledFrom([]int{1, 2, 3, 11, 1000, 1 << 20}).Draw(t, "chunk"))
			if left := f.ToBoundary(); left > 0 && rapid.Bool().Draw(t, "to boundary") {
				require.False(t, f.AtBoundary())
				n = min(len(rest), int(left))
				short := f // of the last of these bytes, which is not beyond the frame
				_ = short.Feed(rest[:n-1])
				require.Equal(t, f.Frames(), short.Frames())
			}
			err = f.Feed(rest[:n])
			rest = rest[n:]
			if unseen := min(f.Ahead(), uint64(len(rest))); unseen > 0 && rapid.Bool().Draw(t, "skip") {
				unseen = rapid.SampledFrom([]uint64{1, unseen}).Draw(t, "unseen")
				f.Skip(unseen)
				rest = rest[unseen:]
			}
		}
		require.Equal(t, model(stream), observe(&f, err))
	})
}

// TestToBoundary goes to the end of a frame from each place in it, and not further.
func TestToBoundary(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 0xffff, 1 << 16} {
		for _, masked := range []bool{false, true} {
			message := frame(0x82, masked, make([]byte, size))
			for begun := 1; begun < min(len(message), 20); begun++ {
				var f wsframe.Follower
				require.NoError(t, f.Feed(message[:begun]))
				rest, steps := message[begun:], 0
				for ; !f.AtBoundary(); steps++ {
					n := f.ToBoundary()
					require.NotZero(t, n)
					require.LessOrEqual(t, n, uint64(len(rest)))
					require.NoError(t, f.Feed(rest[:n]))
					rest = rest[n:]
				}
				require.Empty(t, rest)
				require.LessOrEqual(t, steps, 3)
				require.Zero(t, f.ToBoundary())
			}
		}
	}
	var broken wsframe.Follower
	require.Error(t, broken.Feed([]byte{0x83}))
	require.Zero(t, broken.ToBoundary())
}

func TestPayloadsNeedNotBeSeen(t *testing.T) {
	const size = 70_000
	stream := frame(0x82, true, make([]byte, size))
	var f wsframe.Follower
	require.NoError(t, f.Feed(stream[:len(stream)-size]))
	require.EqualValues(t, size, f.Ahead())
	f.Skip(1)
	require.EqualValues(t, size-1, f.Ahead())
	require.False(t, f.AtBoundary())
	f.Skip(size - 1)
	require.Zero(t, f.Ahead())
	require.Equal(t, model(stream), observe(&f, nil))

	require.NoError(t, f.Feed(frame(0x89, true, []byte("ping"))[:8]))
	require.Zero(t, f.Ahead(), "of a control frame the payload can matter")
}

func FuzzFollower(f *testing.F) {
	f.Add(frame(0x81, true, []byte("hello")), uint64(1))
	f.Add(join(frame(0x01, false, nil), frame(0x89, false, nil), frame(0x80, false, nil)), uint64(2))
	f.Add(frame(0x88, true, []byte{0x03, 0xe8}), uint64(3))
	f.Add([]byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0, 9}, uint64(4))
	f.Add([]byte{0x81, 126, 0, 126}, uint64(5))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		want := model(stream)
		cuts := rand.New(rand.NewPCG(seed, 1))
		var follower wsframe.Follower
		var err error
		for rest := stream; len(rest) > 0; {
			n := 1 + cuts.IntN(len(rest))
			err = follower.Feed(rest[:n])
			rest = rest[n:]
			if unseen := min(follower.Ahead(), uint64(len(rest))); unseen > 0 && cuts.IntN(2) == 0 {
				follower.Skip(unseen)
				rest = rest[unseen:]
			}
		}
		if got := observe(&follower, err); got != want {
			t.Fatalf("stream %x\n got %+v\nwant %+v", stream, got, want)
		}
	})
}

// TestFollowerOnRealConnection follows both directions of a connection between
// two real endpoints, with fragments, compression, pings and a close.
func TestFollowerOnRealConnection(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			return
		}
		c.SetReadLimit(-1)
		for {
			kind, msg, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), kind, msg) != nil {
				return
			}
		}
	}))
	defer server.Close()

	tap := &tapped{}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			tap.Conn = conn
			return tap, err
		},
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, server.URL, &websocket.DialOptions{HTTPClient: client, CompressionMode: websocket.CompressionContextTakeover})
	require.NoError(t, err)
	c.SetReadLimit(-1)

	sizes := []int{0, 1, 125, 126, 200, 65535, 65536, 300_000}
	for _, n := range sizes {
		require.NoError(t, c.Write(ctx, websocket.MessageText, []byte(strings.Repeat("w", n))))
		_, got, err := c.Read(ctx)
		require.NoError(t, err)
		require.Len(t, got, n)
	}
	// A message in fragments, with a ping between them.
	w, err := c.Writer(ctx, websocket.MessageBinary)
	require.NoError(t, err)
	noise := make([]byte, 50_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for range 3 {
		_, err = w.Write(noise)
		require.NoError(t, err)
	}
	pinged := make(chan error, 1)
	go func() { pinged <- c.Ping(ctx) }()
	require.NoError(t, w.Close())
	_, got, err := c.Read(ctx)
	require.NoError(t, err)
	require.Len(t, got, 150_000)
	read := make(chan struct{})
	go func() { // the pong is seen by a reader
		defer close(read)
		_, _, _ = c.Read(ctx)
	}()
	require.NoError(t, <-pinged)
	require.NoError(t, c.Close(websocket.StatusGoingAway, "enough"))
	<-read

	up, down := tap.streams()
	for name, direction := range map[string][]byte{"up": up, "down": down} {
		_, stream, ok := bytes.Cut(direction, []byte("\r\n\r\n"))
		require.True(t, ok)
		o := inChunks(stream, 1500)
		require.NoError(t, o.err, name)
		require.Equal(t, uint64(len(sizes)+1), o.messages, name)
		require.True(t, o.boundary, name)
		require.True(t, o.closeSeen, name)
		require.Equal(t, uint64(len(stream)), o.bytes, name)
		require.Equal(t, model(stream), o, name)
	}
}

// tapped keeps what goes over a connection.
type tapped struct {
	net.Conn
	mu       sync.Mutex
	up, down bytes.Buffer
}

func (c *tapped) streams() (up, down []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.up.Bytes()), bytes.Clone(c.down.Bytes())
}

func (c *tapped) Write(p []byte) (int, error) {
	// Before it goes out: the answer to it may cause the next write elsewhere.
	c.mu.Lock()
	c.up.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down.Write(p[:n])
	return n, err
}

func TestFollowerIsSmallAndFrugal(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(wsframe.Follower{}), uintptr(40))
	stream := join(frame(0x81, true, make([]byte, 70_000)), frame(0x89, true, []byte("x")))
	var f wsframe.Follower
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = f.Feed(stream) }))
	require.NoError(t, f.Feed(nil))
}

// TestControlFramesAreReadByOthers gives what we write to a real endpoint.
func TestControlFramesAreReadByOthers(t *testing.T) {
	long := strings.Repeat("é", 100)
	tests := []struct {
		name   string
		code   int
		reason string
		want   string
	}{
		{"reason", 1001, "going away", "status = StatusGoingAway and reason = \"going away\""},
		{"long reason is cut at a rune", 1008, long, fmt.Sprintf("reason = %q", strings.Repeat("é", 61))},
		{"no status", 0, "dropped", "status = StatusNoStatusRcvd"},
		{"status out of range", 70000, "dropped", "status = StatusNoStatusRcvd"},
		{"status that may not travel", 1006, "dropped", "status = StatusNoStatusRcvd"},
	}
	for _, tt := range tests {
		for _, masked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/masked=%v", tt.name, masked), func(t *testing.T) {
				wire := append(wsframe.AppendPing([]byte{}, []byte("still there?"), masked), wsframe.AppendClose(nil, tt.code, tt.reason, masked)...)
				require.ErrorContains(t, readAs(t, wire, masked), tt.want)

				var f wsframe.Follower
				require.NoError(t, f.Feed(wire))
				require.True(t, f.AtBoundary())
				require.Equal(t, uint64(2), f.Frames())
				require.True(t, f.CloseSeen())
			})
		}
	}
}

// readAs lets an endpoint read wire: a server if it is masked, else a client.
func readAs(t *testing.T, wire []byte, server bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	result := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			result <- err
			return
		}
		if server {
			_, _, err = c.Read(ctx)
			result <- err
			return
		}
		<-ctx.Done()
	}))
	defer srv.Close()
	var raw net.Conn
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		raw = conn
		if !server {
			conn = &injected{Conn: conn, wire: bytes.NewReader(wire)}
		}
		return conn, nil
	}}
	c, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	require.NoError(t, err)
	defer func() { _ = c.CloseNow() }()
	if server {
		_, err = raw.Write(wire)
		require.NoError(t, err)
		return <-result
	}
	_, _, err = c.Read(ctx)
	return err
}

// injected gives a client the server's handshake and then wire.
type injected struct {
	net.Conn
	wire   io.Reader
	opened bool
}

func (c *injected) Read(p []byte) (int, error) {
	if c.opened {
		return c.wire.Read(p)
	}
	n, err := c.Conn.Read(p)
	c.opened = bytes.Contains(p[:n], []byte("\r\n\r\n"))
	return n, err
}

func TestOnlyPong(t *testing.T) {
	pongFrame := func(payload string, masked bool) []byte { return frame(0x8a, masked, []byte(payload)) }
	for _, masked := range []bool{false, true} {
		for _, payload := range []string{"", "x", "pwdist", strings.Repeat("y", 125)} {
			f := pongFrame(payload, masked)
			require.Len(t, f, wsframe.PingSize(len(payload), masked))
			require.Len(t, wsframe.AppendPing(nil, []byte(payload), masked), len(f))
			got, ok := wsframe.OnlyPong(f, masked)
			require.True(t, ok)
			require.Equal(t, payload, string(got))
			for name, other := range map[string][]byte{
				"more": append(bytes.Clone(f), 0), "less": f[:len(f)-1], "other masking": pongFrame(payload, !masked),
				"ping": frame(0x89, masked, []byte(payload)), "text": frame(0x81, masked, []byte(payload)), "empty": nil,
			} {
				_, ok := wsframe.OnlyPong(other, masked)
				require.False(t, ok, name)
			}
		}
	}
}

func TestPingPayloadIsCut(t *testing.T) {
	b := wsframe.AppendPing([]byte("before"), make([]byte, 200), false)
	require.Equal(t, append([]byte("before"), 0x89, 125), b[:8])
	require.Len(t, b, 6+2+125)
}

func BenchmarkFollower(b *testing.B) {
	for _, size := range []int{16, 200, 16 << 10, 1 << 20} {
		one := frame(0x81, true, make([]byte, size))
		// What one read of 64 KiB brings: many small frames, or part of one.
		stream := bytes.Repeat(one, max(1, (64<<10)/len(one)))
		b.Run(fmt.Sprintf("frames of %d", size), func(b *testing.B) {
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			var f wsframe.Follower
			for b.Loop() {
				for rest := stream; len(rest) > 0; {
					n := min(64<<10, len(rest))
					if err := f.Feed(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(f.Frames()), "ns/frame")
		})
	}
}
