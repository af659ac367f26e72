package gate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// torrent is the frames, in turn, of a server that never pauses between two: it
// writes many at once.
type torrent [][]byte

// newTorrent is of messages of one size; in fragments when that is to be.
func newTorrent(size int, fragments bool) torrent {
	var all torrent
	for i := range max(3, 1<<20/size) {
		payload := bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(i)), size/8)
		if !fragments {
			all = append(all, frame(payload, false))
			continue
		}
		begin, end := frame(payload[:size/2], false), frame(payload[size/2:], false)
		begin[0], end[0] = 0x02, 0x80
		all = append(all, begin, end)
	}
	return all
}

// pour writes until the connection takes no more. No write ends with a frame.
func (s torrent) pour(w io.Writer) {
	all := bytes.Join(s, nil)
	within := len(s[0]) / 3
	if _, err := w.Write(all[:within]); err != nil {
		return
	}
	all = append(all[within:], all[:within]...)
	for {
		if _, err := w.Write(all); err != nil {
			return
		}
	}
}

var errOther = errors.New("another frame than was sent comes")

// sip reads the stream from its next frame on, slower than it comes, until one
// begins that is not of it, or tell says no.
func (s torrent) sip(in *wire, next int, tell func(bytes int) bool) (int, error) {
	got := 0
	for buf := []byte(nil); ; next = (next + 1) % len(s) {
		first, err := in.in.Peek(1)
		if err != nil {
			return next, err
		}
		if first[0] != s[next][0] {
			return next, nil
		}
		buf = append(buf[:0], s[next]...)
		n, err := io.ReadFull(in.in, buf)
		switch {
		case !bytes.Equal(buf[:n], s[next][:n]):
			return next, errOther
		case err != nil:
			return next, fmt.Errorf("within a frame: %w", err)
		}
		if got>>13 != (got+n)>>13 {
			<-time.After(time.Millisecond)
		}
		if got += n; !tell(got) {
			return (next + 1) % len(s), nil
		}
	}
}

// torrents calls f for streams of messages of several sizes.
func torrents(t *testing.T, f func(t *testing.T, s torrent)) {
	for _, size := range []int{1000, 50_000, 200_000} {
		for _, fragments := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, fragments %t", size, fragments), func(t *testing.T) { f(t, newTorrent(size, fragments)) })
		}
	}
}

const (
	flowing  = 1 << 20  // bytes that have come when something of ours is to be put in
	upToThen = 16 << 20 // and is to have come; kernels hold less
)

// narrow keeps kernels from holding so much that a slow reader needs long for it.
func narrow(t *testing.T, client *wire) {
	t.Helper()
	require.NoError(t, client.Conn.(*net.TCPConn).SetReadBuffer(64<<10))
}

func TestAnEndFindsItsPlaceInATorrent(t *testing.T) {
	torrents(t, func(t *testing.T, s torrent) {
		r := newRig(t, func(*Options) {})
		r.endTime = patience
		client, server := r.open("s")
		narrow(t, client)
		var pouring sync.WaitGroup
		defer pouring.Wait()
		defer func() { _, _ = client.Close(), server.Close() }()
		pouring.Go(func() { s.pour(server) })
		end := sync.OnceFunc(func() { r.end("s", Ending{Reason: "worker_drained", Text: "going"}) })
		_, err := s.sip(client, 0, func(bytes int) bool {
			if bytes > flowing {
				end()
			}
			return true
		})
		require.NoError(t, err)
		client.take(string(wsframe.AppendClose(nil, 1001, "going", false)))
		require.Empty(t, client.takeEnd())
		_ = client.Close()
		require.Equal(t, "worker_drained", r.waitEnd().Reason)
	})
}

func TestARefusedCallIsAnsweredInATorrent(t *testing.T) { // I9
	torrents(t, func(t *testing.T, s torrent) {
		r := newRig(t, guarded)
		client, server := r.open("s")
		narrow(t, client)
		var pouring sync.WaitGroup
		defer pouring.Wait()
		defer func() { _, _ = client.Close(), server.Close() }()
		pouring.Go(func() { s.pour(server) })
		next, until := 0, flowing
		for id := range 3 {
			var err error
			next, err = s.sip(client, next, func(bytes int) bool { return bytes < until })
			require.NoError(t, err)
			client.send(textFrame(fmt.Sprintf(`{"id":%d,"guid":"browser@1","method":"killForTests","params":{}}`, id), true))
			next, err = s.sip(client, next, func(bytes int) bool { return bytes < upToThen })
			require.NoError(t, err)
			require.NotEqual(t, byte(0x80), s[next][0], "it is within a message")
			head := make([]byte, 4)
			_, err = io.ReadFull(client.in, head)
			require.NoError(t, err)
			require.Equal(t, []byte{0x81, 126}, head[:2], "no answer has come")
			text := make([]byte, binary.BigEndian.Uint16(head[2:]))
			_, err = io.ReadFull(client.in, text)
			require.NoError(t, err)
			require.Contains(t, string(text), fmt.Sprintf(`{"id":%d,"error":`, id))
			until = 100_000
		}
		_, err := s.sip(client, next, func(bytes int) bool { return bytes < flowing })
		require.NoError(t, err, "the stream goes on")
		_, _ = client.Close(), server.Close()
		r.waitEnd()
	})
}

func TestSeam(t *testing.T) {
	whole := frame(make([]byte, 1000), false)
	begin, end := frame(make([]byte, 300), false), frame(make([]byte, 200), false)
	begin[0], end[0] = 0x02, 0x80
	bye := wsframe.AppendClose(nil, 1000, "", false)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, c := range map[string]struct {
		before, b      []byte
		frame, message int
	}{
		"nothing":             {nil, nil, 0, 0},
		"within a frame":      {whole[:500], whole[500:900], 0, 0},
		"within a header":     {whole[:1], whole[1:3], 0, 0},
		"to the end":          {whole[:500], whole[500:], 504, 504},
		"beyond":              {whole[:500], join(whole[500:], whole[:700]), 504, 504},
		"the last of several": {whole[:1], join(whole[1:], whole, whole, whole[:2]), 3*len(whole) - 1, 3*len(whole) - 1},
		"between fragments":   {begin[:100], join(begin[100:], end[:3]), 204, 0},
		"behind fragments":    {begin[:100], join(begin[100:], end, begin, end[:1]), 204 + len(end) + len(begin), 204 + len(end)},
		"before a farewell":   {whole[:500], join(whole[500:], bye), 504, 504},
		"behind a farewell":   {bye, whole, 0, 0},
		"before nonsense":     {whole[:500], join(whole[500:], []byte("\xff\xff\xff")), 504, 504},
		"within nonsense":     {[]byte("\xff"), whole, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var p pump
			_ = p.frames.Feed(c.before)
			was := p.frames
			require.Equal(t, c.frame, p.seam(c.b, (*wsframe.Follower).AtBoundary))
			require.Equal(t, c.message, p.seam(c.b, (*wsframe.Follower).AtMessageBoundary))
			require.Equal(t, was, p.frames, "nothing has been sent yet")
		})
	}
}
