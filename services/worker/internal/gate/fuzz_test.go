package gate

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzUpgrade: a handshake that the gate takes is read by another parser in
// the same way, before and after it is passed on.
func FuzzUpgrade(f *testing.F) {
	f.Add([]byte(handshake("s", 1)))
	f.Add([]byte("GET / HTTP/1.1\r\nx-pwdist-session : a\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nA: b\r\n c\r\nx-pwdist-attempt: 1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		head, err := readHead(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		q, err := parseRequest(head)
		if err != nil {
			return
		}
		out := q.forward("/secret", true)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if err != nil {
			return // the server refuses it as well
		}
		if r.URL.Path != "/secret" || r.Host != "playwright" {
			t.Fatalf("the server sees %q at %q", r.URL.Path, r.Host)
		}
		for name := range r.Header {
			name = strings.ToLower(name)
			if strings.HasPrefix(name, ours) || name == "origin" || name == "sec-websocket-extensions" {
				t.Fatalf("%s goes through", name)
			}
		}
	})
}
