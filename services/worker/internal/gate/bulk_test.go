package gate

import (
	"encoding/binary"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hugeMessage is the largest message that Playwright's server takes.
const hugeMessage = 256 << 20

// TestTheLargestMessageAndACloseBehindIt has one side send a single frame of 256 MiB
// and close at once, to a reader that begins only when nothing goes any more. What it
// gets is what was sent, and the gate holds no more than its buffers meanwhile.
func TestTheLargestMessageAndACloseBehindIt(t *testing.T) { // I8
	for _, by := range []string{"client", "server"} {
		t.Run(by, func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			client, server := r.open("s")
			from, to := client, server
			if by == "server" {
				from, to = server, client
			}
			_, _ = from.SetDeadline(time.Time{}), to.SetDeadline(time.Now().Add(3*patience))
			before := heap()
			sent, progress := crc32.NewIEEE(), make(chan int, 1<<10)
			failed := make(chan error, 1)
			go func() {
				defer close(progress)
				err := pourFrame(io.MultiWriter(sent, from.Conn), by == "client", progress)
				_ = from.Close()
				failed <- err
			}()
			full(t, progress)

			got := crc32.NewIEEE()
			n := countTo(t, got, to.in, before)
			require.NoError(t, <-failed)
			require.Equal(t, len(header(by == "client"))+hugeMessage, n)
			require.Equal(t, sent.Sum32(), got.Sum32())
			_ = to.Close()
			e := r.waitEnd()
			require.EqualValues(t, n, e.BytesUp+e.BytesDown)
			require.EqualValues(t, 1, e.MessagesUp+e.MessagesDown)
		})
	}
}

// header is that of a frame with the largest message.
func header(masked bool) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0x82, 127}, hugeMessage)
	if masked {
		b[1] |= 0x80
		b = append(b, 1, 2, 3, 4)
	}
	return b
}

// pourFrame writes the largest frame, of one block with another number in it each
// time, so that no memory has to hold it.
func pourFrame(w io.Writer, masked bool, progress chan<- int) error {
	if _, err := w.Write(header(masked)); err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block)
	for i := range hugeMessage / len(block) {
		binary.BigEndian.PutUint64(block, uint64(i))
		if _, err := w.Write(block); err != nil {
			return err
		}
		progress <- i
	}
	return nil
}

// full waits until a sender comes to a stop.
func full(t *testing.T, progress <-chan int) {
	t.Helper()
	for {
		select {
		case i, more := <-progress:
			require.True(t, more && i < hugeMessage>>21, "%d MiB were taken, and nobody reads", i)
		case <-time.After(300 * time.Millisecond):
			return
		}
	}
}

// countTo reads to the end of the stream, and sees that the heap does not grow with it.
func countTo(t *testing.T, sum hash.Hash, r io.Reader, before uint64) (n int) {
	t.Helper()
	const most, every = 4 << 20, 32 << 20
	b := make([]byte, 64<<10)
	for look := 0; ; {
		k, err := r.Read(b)
		_, _ = sum.Write(b[:k])
		if n += k; n >= look {
			look += every
			require.Less(t, heap(), before+most)
		}
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return n
		}
	}
}
