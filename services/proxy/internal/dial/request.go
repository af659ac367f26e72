package dial

import (
	"slices"
	"strconv"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

const (
	requestLine = "GET /session HTTP/1.1\r\nHost: "
	lineEnd     = "\r\n"
	// lineRest is what a header takes beside its name and its value.
	lineRest = len(": " + lineEnd)
	// fewHeaders are more than a Playwright client sends.
	fewHeaders = 24
)

// request is the handshake for the worker. The client's headers stand in the order of
// their names, so that those of two clients of the same kind are alike: a gate has its
// server answer in advance what came twice in a row.
func request(g state.Grant, u Upgrade) []byte {
	own := [...]struct{ name, value string }{
		{"x-pwdist-session", g.Session}, {"x-pwdist-attempt", strconv.Itoa(g.Attempt)}, {"x-pwdist-proxy", u.Proxy}, {"x-pwdist-voucher", u.Voucher},
		{"x-pwdist-name", u.Name}, {"x-pwdist-labels", u.Labels}, {"x-pwdist-token", u.Token}, {"x-pwdist-client", u.Client},
	}
	size := len(requestLine) + len(g.Endpoint) + 2*len(lineEnd)
	var few [fewHeaders]string
	names := few[:0]
	for name, values := range u.Header {
		if !isToken(name) {
			continue
		}
		names = append(names, name)
		for _, value := range values {
			size += len(name) + len(value) + lineRest
		}
	}
	slices.Sort(names)
	for _, h := range own {
		size += len(h.name) + len(h.value) + lineRest
	}

	b := make([]byte, 0, size)
	b = append(b, requestLine...)
	b = append(b, g.Endpoint...)
	b = append(b, lineEnd...)
	for _, name := range names {
		for _, value := range u.Header[name] {
			b = appendHeader(b, name, value)
		}
	}
	for _, h := range own {
		if h.value != "" {
			b = appendHeader(b, h.name, h.value)
		}
	}
	return append(b, lineEnd...)
}
