package dial

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// Refused is a worker's answer other than 101. It was reached, and said no.
type Refused struct {
	Status int
	Code   string // the pool's refusal code, empty when the answer is not from its gate
	Body   string
}

func (e *Refused) Error() string {
	return fmt.Sprintf("the worker answered %d %s: %s", e.Status, e.Code, firstLine(e.Body))
}

const (
	maxHead = 16 << 10
	maxBody = 8 << 10
	// maxInterim is how many answers may say that the answer is still to come.
	maxInterim = 8
)

// readAnswer reads the head of the answer, without interim ones (RFC 9110, section
// 15.2), which whatever is between proxy and worker may send first.
func readAnswer(r *bufio.Reader) (head []byte, status int, err error) {
	for range 1 + maxInterim {
		if head, err = readHead(r); err != nil {
			return nil, 0, fmt.Errorf("reading the worker's answer: %w", err)
		}
		status, err = statusOf(head)
		if err != nil || status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
			return head, status, err
		}
	}
	return nil, 0, errors.New("the worker does not come to an answer")
}

const headEnd = "\r\n\r\n"

// readHead reads up to the empty line. Nearly always all of it comes at once.
func readHead(r *bufio.Reader) ([]byte, error) {
	var head []byte
	for len(head) <= maxHead {
		if _, err := r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		came, _ := r.Peek(r.Buffered()) // which are there
		before := len(head)
		head = append(head, came...)
		from := max(0, before-len(headEnd)+1) // its end may have begun in what came before
		at := bytes.Index(head[from:], []byte(headEnd))
		if at >= 0 {
			head = head[:from+at+len(headEnd)]
		}
		_, _ = r.Discard(len(head) - before)
		if at >= 0 && len(head) <= maxHead {
			return head, nil
		}
	}
	return nil, fmt.Errorf("the answer's head is longer than %d bytes", maxHead)
}

func statusOf(head []byte) (int, error) {
	line, _, _ := bytes.Cut(head, []byte(lineEnd))
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	status, err := strconv.Atoi(string(code))
	if err != nil || !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return 0, fmt.Errorf("not an HTTP answer: %q", firstLine(string(line)))
	}
	return status, nil
}

func refused(head []byte, status int, r *bufio.Reader) error {
	e := &Refused{Status: status}
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(head[bytes.IndexByte(head, '\n')+1:]))).ReadMIMEHeader()
	if err != nil {
		return e
	}
	e.Code = h.Get("x-pwdist-refusal")
	n, err := strconv.Atoi(h.Get("Content-Length"))
	if err != nil || n > maxBody {
		n = maxBody
	}
	body, _ := io.ReadAll(io.LimitReader(r, int64(n)))
	e.Body = string(body)
	return e
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if len(s) > 200 {
		s = s[:200]
	}
	return s
}
