package harness

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Raw is a client without Playwright: one request for an upgrade, byte by byte
// as the test wants it.
type Raw struct {
	net.Conn
	in *bufio.Reader
}

// Answer is what a request got. Code is the refusal's, where it is one.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Code names the refusal.
func (a Answer) Code() string { return a.Header.Get("x-pwdist-refusal") }

// Headers of a request; a value of "-" leaves one out that would be sent otherwise.
type Headers map[string]string

// UpgradeHeaders are those of a stock client's request for a WebSocket, of this
// Playwright version or of none (""), with more over them.
func UpgradeHeaders(version string, more Headers) Headers {
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	h := Headers{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(key), "x-playwright-browser": "chromium",
	}
	if version != "" {
		h["User-Agent"] = "Playwright/" + version + " (x64; debian 12) node/20.0"
	}
	maps.Copy(h, more)
	return h
}

// Upgrade sends a request for a WebSocket as a stock client does, and does not
// wait for the answer.
func Upgrade(tb testing.TB, address, target, version string, more Headers) *Raw {
	tb.Helper()
	return Request(tb, address, target, UpgradeHeaders(version, more))
}

// Request connects and sends a GET with exactly these headers.
func Request(tb testing.TB, address, target string, h Headers) *Raw {
	tb.Helper()
	r := Dial(tb, address)
	r.Ask(tb, target, h)
	return r
}

// Dial connects and says nothing. The connection is closed with the test.
func Dial(tb testing.TB, address string) *Raw {
	tb.Helper()
	c, err := net.DialTimeout("tcp", address, Patience)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	return &Raw{Conn: c, in: bufio.NewReader(c)}
}

// Ask sends a GET with exactly these headers.
func (r *Raw) Ask(tb testing.TB, target string, h Headers) {
	tb.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", target, r.RemoteAddr())
	for name, value := range h {
		if value != "-" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	if _, err := io.WriteString(r, b.String()+"\r\n"); err != nil {
		tb.Fatal(err)
	}
}

// Answer waits for the answer; the body of an upgrade is not read.
func (r *Raw) Answer(tb testing.TB) Answer {
	tb.Helper()
	if err := r.SetReadDeadline(time.Now().Add(2 * Patience)); err != nil {
		tb.Fatal(err)
	}
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil {
		tb.Fatalf("no answer to the request: %v", err)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("the answer ends early: %v", err)
	}
	a.Body = string(body)
	return a
}

// AwaitEnd reads until the other side closes the connection.
func (r *Raw) AwaitEnd(tb testing.TB) {
	tb.Helper()
	if err := r.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		tb.Fatal(err)
	}
	// A reset ends it as well as a close does.
	if _, err := io.Copy(io.Discard, r.in); err != nil && isTimeout(err) {
		tb.Fatalf("the connection is still open after %s", Patience)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
