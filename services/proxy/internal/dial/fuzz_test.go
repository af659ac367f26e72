package dial_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/dial"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// FuzzAnswer has a worker answer anything, cut anywhere. What makes a connection
// gives back every byte that came, in its order.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		"", switched, switched + "\x81\x02hi", "HTTP/1.1 100 Continue\r\n\r\n" + switched,
		"HTTP/1.1 503 No\r\nx-pwdist-refusal: worker_full\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 101\n\n", "HTTP/1.1 101 S\r\n\n\r\n\r\n",
		"HTTP/1.1 500 No\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 -1 No\r\n: \r\n\r\n", "SSH-2.0\r\n\r\n",
	} {
		f.Add([]byte(answer), uint64(len(answer)))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(f, err)
	f.Cleanup(func() { _ = ln.Close() })
	f.Fuzz(func(t *testing.T, answer []byte, seed uint64) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(patience))
			request := make([]byte, 4096)
			for n := 0; !bytes.HasSuffix(request[:n], []byte("\r\n\r\n")); {
				k, err := c.Read(request[n:])
				if err != nil {
					return
				}
				n += k
			}
			r := rand.New(rand.NewPCG(seed, 1))
			for rest := answer; len(rest) > 0; {
				n := 1 + r.IntN(len(rest))
				if r.IntN(2) == 0 {
					n = 1
				}
				if _, err := c.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		c, err := dial.Dialer{}.Dial(t.Context(), state.Grant{Session: "s", Endpoint: ln.Addr().String(), Attempt: 1}, dial.Upgrade{})
		if err != nil {
			<-done
			return
		}
		defer func() { _ = c.Close() }()
		require.True(t, bytes.HasPrefix(c.Head, []byte("HTTP/1.")))
		require.True(t, bytes.HasSuffix(c.Head, []byte("\r\n\r\n")))
		require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
		rest, err := io.ReadAll(c)
		require.NoError(t, err)
		<-done
		got := append(append(bytes.Clone(c.Head), c.Early...), rest...)
		require.True(t, bytes.HasSuffix(answer, got), "%q is not the end of %q", got, answer)
		require.Contains(t, string(c.Head[:bytes.IndexByte(c.Head, '\n')]), "101")
	})
}
