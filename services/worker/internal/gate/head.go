package gate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// maxHead bounds a request or an answer without its body.
const maxHead = 64 << 10

var (
	errHead = errors.New("not an HTTP/1.1 message")
	errLong = errors.New("the head is too long")
)

// readHead reads up to and with the empty line.
func readHead(r *bufio.Reader) ([]byte, error) {
	head := make([]byte, 0, 1024)
	for {
		line, err := r.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(head) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case bytes.Equal(line, crlf):
			return head, nil
		}
		if len(head) > maxHead {
			return nil, errLong
		}
	}
}

var crlf = []byte("\r\n")

// The headers that the proxy adds, without which nothing is let in.
const (
	ours          = "x-pwdist-"
	headerSession = ours + "session"
	headerAttempt = ours + "attempt"
	headerProxy   = ours + "proxy"
	headerVoucher = ours + "voucher"
	headerName    = ours + "name"
	headerLabels  = ours + "labels"
	headerToken   = ours + "token"
	headerClient  = ours + "client"
)

// request is a client's handshake as the proxy passed it on.
type request struct {
	head    []byte // as it came
	session state.Serving
	voucher string   // by which its proxy is known, see acquaintances
	keys    []string // of the WebSocket handshake, of which there is to be one
}

// parseRequest reads what the gate wants to know of a handshake. It looks at
// lines only: everything that is not for the gate goes on as it is.
func parseRequest(head []byte) (request, error) {
	q := request{head: head}
	line, rest, _ := bytes.Cut(head, crlf)
	parts := strings.Split(string(line), " ")
	if len(parts) != 3 || !strings.HasPrefix(parts[2], "HTTP/") {
		return q, errHead
	}
	upgrade := parts[0] == "GET" && parts[2] == "HTTP/1.1"
	var asked, connection bool
	err := eachHeader(rest, func(name, value string, _ []byte) {
		switch name {
		case "upgrade":
			asked = asked || strings.EqualFold(value, "websocket")
		case "connection":
			connection = connection || hasToken(value, "upgrade")
		case "sec-websocket-key":
			q.keys = append(q.keys, value)
		default:
			q.note(name, value)
		}
	})
	switch {
	case err != nil:
		return q, err
	case !upgrade || !asked || !connection || len(q.keys) == 0:
		return q, refusal.New(refusal.UpgradeRequired, "")
	case q.session.Session == "" || q.session.Attempt < 1:
		return q, refusal.New(refusal.NoAssignment, "The connection names no session.")
	}
	return q, nil
}

// maxVoucher is how long a voucher may be: proxies' are of 26 characters.
const maxVoucher = 64

// launch begins the header with options for the start of a browser.
const launch = "x-playwright-launch-options"

// note takes one of the proxy's headers.
func (q *request) note(name, value string) {
	s := &q.session
	switch name {
	case headerVoucher:
		if len(value) <= maxVoucher {
			q.voucher = value
		}
	case headerSession:
		s.Session = value
	case headerAttempt:
		s.Attempt, _ = strconv.Atoi(value)
	case headerProxy:
		s.Proxy = value
	case headerName:
		s.Name = value
	case headerLabels:
		// What does not parse is left out: labels describe, they decide nothing.
		_ = json.Unmarshal([]byte(value), &s.Labels)
	case headerToken:
		s.Token = value
	case headerClient:
		s.Client = value
	}
}

// eachHeader calls f for every header with its name in lower case and its line
// with the line's end.
func eachHeader(lines []byte, f func(name, value string, line []byte)) error {
	for len(lines) > 0 && !bytes.Equal(lines, crlf) {
		end := bytes.Index(lines, crlf)
		if end < 0 {
			return errHead
		}
		line := lines[:end+len(crlf)]
		lines = lines[len(line):]
		name, value, ok := bytes.Cut(line[:end], []byte(":"))
		// A line that continues the one before it would be read in one way here
		// and in another behind the gate.
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") || bytes.IndexByte(line[:end], '\n') >= 0 {
			return errHead
		}
		f(strings.ToLower(string(name)), string(bytes.TrimSpace(value)), line)
	}
	return nil
}

func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}

// forward is the handshake for the Playwright server: the client's own, but
// for the path, for what the proxy added, for the client's origin, which
// is the proxy's to judge, and for options of a browser that is to be started,
// which this one is not: some spellings of them are an error that the server
// does not expect. Where messages are read, compression is not offered:
// each would have to be inflated, and one that is left out would break the
// context of the next.
func (q request) forward(path string, plain bool) []byte {
	out := make([]byte, 0, len(q.head)+len(path))
	out = append(out, "GET "...)
	out = append(out, path...)
	out = append(out, " HTTP/1.1\r\nHost: playwright\r\n"...)
	_, rest, _ := bytes.Cut(q.head, crlf)
	_ = eachHeader(rest, func(name, _ string, line []byte) { // parsed before
		if plain && name == "sec-websocket-extensions" {
			return
		}
		if name != "host" && name != "origin" && !strings.HasPrefix(name, ours) && name != launch {
			out = append(out, line...)
		}
	})
	return append(out, crlf...)
}

// statusOf reads the status of an answer.
func statusOf(head []byte) (int, error) {
	line, _, _ := bytes.Cut(head, crlf)
	parts := bytes.SplitN(line, []byte(" "), 3)
	if len(parts) < 2 || !bytes.HasPrefix(parts[0], []byte("HTTP/1.")) {
		return 0, errHead
	}
	status, err := strconv.Atoi(string(parts[1]))
	if err != nil {
		return 0, errHead
	}
	return status, nil
}
