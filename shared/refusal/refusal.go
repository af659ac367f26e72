package refusal

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers of a refusal. The second is one that Playwright clients copy into
// their call log; they compare its name with case, so it is sent as it stands.
const (
	HeaderCode     = "x-pwdist-refusal"
	HeaderDebugLog = "x-playwright-debug-log"
)

const (
	contentType = "text/plain; charset=utf-8"
	challenge   = `Bearer realm="playwright-distributed"`
	// maxDetail bounds what a request can make the pool repeat to it.
	maxDetail = 600
)

// Refusal is one no. It is an error, so it can travel as one through calls
// that may refuse.
type Refusal struct {
	Code Code
	// Detail is what is specific to this case, in whole sentences: the versions
	// there are, the parameter that is wrong. It may repeat what the client
	// sent; it is cleaned before it is shown.
	Detail string
	// RetryAfter is the wait that is advised to the client, where the refusal
	// is retryable. Zero stands for the table's.
	RetryAfter time.Duration
}

// New makes a refusal with a detail formatted like fmt.Sprintf; an empty
// format gives none.
func New(code Code, detailFormat string, args ...any) Refusal {
	r := Refusal{Code: code, Detail: detailFormat}
	if len(args) > 0 {
		r.Detail = fmt.Sprintf(detailFormat, args...)
	}
	return r
}

// From finds the refusal in err's chain. An error without one becomes
// [Internal] without a detail: what failed inside is for the log, not for
// strangers.
func From(err error) Refusal {
	if r, ok := errors.AsType[Refusal](err); ok {
		return r
	}
	return Refusal{Code: Internal}
}

// Error is the whole text on one line, the code first.
func (r Refusal) Error() string { return string(r.Code) + ": " + r.line() }

// Status is the HTTP status.
func (r Refusal) Status() int { return Lookup(r.Code).Status }

// Retryable reports whether the same request can succeed later.
func (r Refusal) Retryable() bool { return Lookup(r.Code).Retryable }

// Text is what a person sees: who speaks, what happened, and on the next line
// what to do. It ends without a newline.
func (r Refusal) Text() string {
	row := Lookup(r.Code)
	return "playwright-distributed: " + r.what(row) + "\n" + row.Remedy + " [" + string(r.Code) + "]"
}

// line is the text as one line.
func (r Refusal) line() string {
	row := Lookup(r.Code)
	return r.what(row) + " " + row.Remedy
}

func (r Refusal) what(row Row) string {
	if d := clean(r.Detail); d != "" {
		return row.What + " " + d
	}
	return row.What
}

// retryAfter is the Retry-After header in whole seconds, at least one; empty
// for a refusal that waiting does not help.
func (r Refusal) retryAfter() string {
	row := Lookup(r.Code)
	if !row.Retryable {
		return ""
	}
	d := r.RetryAfter
	if d <= 0 {
		d = row.RetryAfter
	}
	return strconv.FormatInt(int64(max(1, (d+time.Second-1)/time.Second)), 10)
}

// header calls add for every header of the answer but Content-Length and
// Connection. Names are lower case where a client compares them with case.
func (r Refusal) header(add func(name, value string)) {
	add("Content-Type", contentType)
	if after := r.retryAfter(); after != "" {
		add("Retry-After", after)
	}
	switch r.Status() {
	case http.StatusUnauthorized:
		add("WWW-Authenticate", challenge)
	case http.StatusUpgradeRequired:
		add("Upgrade", "websocket")
	}
	add(HeaderCode, string(r.Code))
	add(HeaderDebugLog, headerSafe("playwright-distributed: "+r.line()))
}

// AppendHTTP appends a complete HTTP/1.1 response to dst, for a connection
// that no http.ResponseWriter stands in front of. It closes the connection.
func (r Refusal) AppendHTTP(dst []byte) []byte {
	body := r.Text() + "\n"
	status := r.Status()
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	dst = append(dst, "\r\n"...)
	r.header(func(name, value string) {
		dst = append(dst, name...)
		dst = append(dst, ": "...)
		dst = append(dst, value...)
		dst = append(dst, "\r\n"...)
	})
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\nConnection: close\r\n\r\n"...)
	return append(dst, body...)
}

// Write answers a request with the refusal and closes the connection.
func (r Refusal) Write(w http.ResponseWriter) {
	body := r.Text() + "\n"
	h := w.Header()
	// By index: Set would change the case of the names.
	r.header(func(name, value string) { h[name] = []string{value} })
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Connection"] = []string{"close"}
	w.WriteHeader(r.Status())
	_, _ = w.Write([]byte(body)) // the client is gone if this fails
}

// clean makes one printable line of a detail and bounds its length, so that
// what a client sent cannot forge headers, lines or terminal commands.
func clean(s string) string {
	var b strings.Builder
	for _, c := range strings.TrimSpace(s) {
		switch {
		case b.Len() >= maxDetail:
			return b.String() + "…"
		case c == '\n' || c == '\r' || c == '\t':
			b.WriteByte(' ')
		case !strconv.IsPrint(c):
			b.WriteByte('?')
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// headerSafe replaces what does not belong into a header value.
func headerSafe(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}
