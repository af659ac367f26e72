package relay_test

import (
	"bufio"
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

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/relay"
	"github.com/playwright-distributed/playwright-distributed/shared/wsframe"
)

// torrent is a stream of frames of one size that never pauses: many are written at
// once.
type torrent struct {
	size   int
	masked bool
	frames [][]byte // that come in turn
}

func newTorrent(size int, masked bool) *torrent {
	s := &torrent{size: size, masked: masked}
	for i := range max(3, 1<<20/(size+1)) {
		s.frames = append(s.frames, frame(fin|binaryMessage, binary.BigEndian.AppendUint64(noise(uint64(i), size), uint64(i)), masked))
	}
	return s
}

// pour writes until the connection takes no more. No write ends with a frame.
func (s *torrent) pour(c net.Conn) {
	all := bytes.Join(s.frames, nil)
	within := s.size / 3
	if _, err := c.Write(all[:within]); err != nil {
		return
	}
	all = append(all[within:], all[:within]...)
	for {
		if _, err := c.Write(all); err != nil {
			return
		}
	}
}

// sip reads whole frames of the stream, slower than they come, up to a frame that is not
// of it. tell is called for each with the bytes so far.
func (s *torrent) sip(in *bufio.Reader, tell func(bytes int)) (control []byte, err error) {
	got, buf := 0, make([]byte, len(s.frames[0]))
	for i := 0; ; i = (i + 1) % len(s.frames) {
		first, err := in.Peek(2)
		if err != nil {
			return nil, err
		}
		if first[0] != fin|binaryMessage {
			n := 2 + int(first[1]&0x7f)
			if s.masked {
				n += 4
			}
			control = make([]byte, n)
			_, err = io.ReadFull(in, control)
			return control, err
		}
		if _, err = io.ReadFull(in, buf); err != nil {
			return nil, fmt.Errorf("within a frame: %w", err)
		}
		if !bytes.Equal(buf, s.frames[i]) {
			return nil, errOther
		}
		if got>>18 != (got+len(buf))>>18 {
			<-time.After(time.Millisecond)
		}
		got += len(buf)
		tell(got)
	}
}

var errOther = errors.New("another frame than was sent comes")

// torrents are sizes of frames.
var torrents = []int{1000, 50_000, 65_536, relay.LongFrame - 100, relay.LongFrame + 100}

// TestCloseAllWithinATorrent ends sessions whose workers never pause between two
// frames. The close frame stands behind a whole frame all the same, and what the
// client says meanwhile is not disturbed.
func TestCloseAllWithinATorrent(t *testing.T) {
	for _, size := range torrents {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			g := newRig(t)
			s := g.session()
			down, up := newTorrent(size, false), newTorrent(size, true)
			var all sync.WaitGroup
			defer all.Wait()
			defer func() { _, _ = s.client.Close(), s.worker.Close() }()
			all.Go(func() { down.pour(s.worker) })
			all.Go(func() { up.pour(s.client) })
			upwards := make(chan error, 1)
			all.Go(func() {
				_, err := up.sip(bufio.NewReader(s.worker), func(int) {})
				upwards <- err
			})
			end := sync.OnceFunc(func() { g.relay.CloseAll(1001, "drained", "going") })
			in := bufio.NewReader(s.client)
			got, err := down.sip(in, func(bytes int) {
				if bytes > 8<<20 {
					end()
				}
			})
			require.NoError(t, err)
			require.Equal(t, wsframe.AppendClose(nil, 1001, "going", false), got)
			_, err = in.ReadByte()
			require.ErrorIs(t, err, io.EOF)
			require.NotErrorIs(t, receive(t, upwards), errOther)
			_ = s.client.Close()
			require.Equal(t, "drained", s.ended().Reason)
		})
	}
}

// TestPingWithinATorrent pings the reader of a stream that never pauses between two
// frames.
func TestPingWithinATorrent(t *testing.T) {
	const most = 64 << 20 // kernels hold less
	ways(t, func(t *testing.T, from int) {
		for _, size := range torrents {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				s := newRig(t, func(o *relay.Options) { o.Ping = 0 }).session()
				sender, reader := s.far(from)
				stream := newTorrent(size, from == 0)
				var all sync.WaitGroup
				defer all.Wait()
				defer func() { _, _ = s.client.Close(), s.worker.Close() }()
				all.Go(func() { stream.pour(sender) })
				const before = 8 << 20
				asked := sync.OnceFunc(s.Ping)
				got, err := stream.sip(bufio.NewReader(reader), func(bytes int) {
					if bytes > before {
						asked()
					}
					if bytes > before+most {
						_ = reader.Close()
					}
				})
				require.NoError(t, err)
				require.Equal(t, byte(fin|ping), got[0])
			})
		}
	})
}
