package dial

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pieces gives so many bytes at once.
type pieces struct {
	rest []byte
	step int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.step, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

// FuzzReadHead holds that the end of a head is found in whatever pieces it comes, and
// that what is behind it is left.
func FuzzReadHead(f *testing.F) {
	const head = "HTTP/1.1 101 S\r\nA: b\r\n\r\n"
	long := strings.Repeat("l", maxHead)
	for _, answer := range []string{
		head, head + "early", head + head, "\r\n\r\n", "\r\n\r", "", "HTTP/1.1 101 S\n\n", "a\r\n\n\r\n\r\r\n\r\n.", strings.Repeat("A: b\r\n", 2000) + "\r\nearly",
		long[4:] + headEnd + "early", long[3:] + headEnd, long, long + "l", long + headEnd, strings.Repeat("\r\n", 4096) + headEnd,
	} {
		for _, step := range []uint16{1, 2, 3, 5, 4096, 65535} {
			f.Add([]byte(answer), step)
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte, step uint16) {
		r := bufio.NewReaderSize(&pieces{rest: answer, step: 1 + int(step)}, 4096)
		got, err := readHead(r)
		end := bytes.Index(answer, []byte(headEnd)) + len(headEnd)
		switch {
		case end >= len(headEnd) && end <= maxHead:
			require.NoError(t, err)
			require.Equal(t, string(answer[:end]), string(got))
			rest, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, string(answer[end:]), string(rest))
		case len(answer) > maxHead:
			require.EqualError(t, err, "the answer's head is longer than 16384 bytes")
		default:
			require.Equal(t, io.ErrUnexpectedEOF, err)
		}
	})
}

func TestStatusOf(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{
		"HTTP/1.1 101 Switching Protocols": 101, "HTTP/1.0 503": 503, "HTTP/1.1 200 ": 200, "HTTP/1. 204 No": 204, "HTTP/1.1 -1 No": -1,
		"HTTP/1.1": 0, "HTTP/1.1 ": 0, "HTTP/1.1  101": 0, "HTTP/2 101": 0, " HTTP/1.1 101": 0, "": 0, "HTTP/1.1 1o1": 0, "HTTP/1.1\t101 S": 0,
	} {
		got, err := statusOf([]byte(line + headEnd))
		require.Equal(t, want, got, line)
		require.Equal(t, want == 0, err != nil, line)
	}
}
