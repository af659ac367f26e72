package edge

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzHeadScan holds that the end of a head is found where net/http finds it,
// however the bytes come in.
func FuzzHeadScan(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: pool\r\n\r\nrest"), 3)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\r\n\r\n"), 1)
	f.Add([]byte("\r\n\r\n"), 2)
	f.Add([]byte("GET / HTTP/1.1\r\n\n\r\n"), 5)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		step = max(1, step%64)
		want := len(b)
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			want = i + 4
		}
		var s headScan
		at, found := 0, false
		for from := 0; from < len(b); from += step {
			part := b[from:min(len(b), from+step)]
			was := s.matched == 4
			end := s.end(part)
			require.LessOrEqual(t, end, len(part))
			if was {
				require.Equal(t, len(part), end, "once found, all is behind it")
				continue
			}
			at += end
			found = found || s.matched == 4
		}
		require.Equal(t, want, at)
		require.Equal(t, bytes.Contains(b, []byte("\r\n\r\n")), found)
	})
}

// FuzzDoor sends anything to a real port: it answers with a whole HTTP response,
// hands a client on, or closes; it does not hang, and serves the next one. What
// it hands on means the same to net/http, and holds nothing that a worker could
// read in another way.
func FuzzDoor(f *testing.F) {
	for _, seed := range []string{
		upgrade("/", stock...), upgrade("/?token=x", stock...) + "more", "GET /json HTTP/1.1\r\nHost: pool\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		strings.ReplaceAll(upgrade("/", stock...), "\r\n", "\n"), upgrade("/", "Origin: null"), "\x16\x03\x01", "GET / HTTP/1.1\r\n\r\r\n\r\n",
	} {
		f.Add([]byte(seed), 7)
	}
	p := serve(f, func(o *Options) { o.HeaderTimeout = 200 * time.Millisecond })
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		step = max(1, step%4096)
		b = bytes.Clone(b) // what sends it may outlive this call
		conn, err := net.Dial("tcp", p.Addr().String())
		require.NoError(t, err)
		c := conn.(*net.TCPConn)
		_ = c.SetDeadline(time.Now().Add(patience))
		defer func() { _ = c.Close() }()
		go func() {
			for from := 0; from < len(b); from += step {
				if _, err := c.Write(b[from:min(len(b), from+step)]); err != nil {
					return
				}
			}
			_ = c.CloseWrite()
		}()
		answered := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(c) // what came before a reset counts too
			answered <- all
		}()
		select {
		case u := <-p.upgrades:
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b)))
			if err == nil { // what both understand they understand alike
				want, err := parse(r, "chromium")
				require.NoError(t, err, "%q", b)
				require.Equal(t, want, u.Ask)
			}
			require.True(t, sound(u.Header), "%q", u.Header)
			u.Client.Refuse([]byte("HTTP/1.1 503 Over\r\nContent-Length: 0\r\n\r\n"))
		case all := <-answered:
			if len(all) > 0 {
				r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), nil)
				require.NoError(t, err, "%q", all)
				_ = r.Body.Close()
			}
		case <-time.After(patience):
			t.Fatalf("it hangs on %q", b)
		}
	})
}
