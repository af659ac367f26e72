// Package dial connects to a granted worker: one TCP connection, the client's
// own handshake passed on, and the worker's answer. Nothing is told to the
// client before the answer is there, so a worker that fails costs it only time.
package dial

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/keepalive"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Upgrade is what a client sent and what its worker must know about it.
type Upgrade struct {
	Header  http.Header // the client's headers, without what is not for the worker
	Proxy   string
	Voucher string // by which workers know the proxy, and nobody else does
	Name    string
	Labels  string // JSON
	Token   string // name of the token, never the token
	Client  string
}

// hop names the headers that end at the proxy: what belongs to this hop, and
// what is secret between the client and the pool.
var hop = map[string]bool{
	"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Origin": true, "Authorization": true,
	"Proxy-Authorization": true, "Cookie": true, "Keep-Alive": true, "Te": true, "Trailer": true, "Forwarded": true,
}

// Forwarded copies the headers of a request that the worker gets.
func Forwarded(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if hop[name] || strings.HasPrefix(name, "X-Pwdist-") || strings.HasPrefix(name, "X-Forwarded-") {
			continue
		}
		out[name] = append([]string(nil), values...)
	}
	return out
}

// Conn is a worker's connection behind its 101.
type Conn struct {
	net.Conn
	Head  []byte // the answer, complete with its empty line
	Early []byte // what came behind it already
}

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

// Dialer connects to workers.
type Dialer struct {
	// Probe has the kernel find workers that are gone, for sessions that nobody
	// pings. Else pings and heartbeats do, and probes would do harm (package
	// keepalive).
	Probe bool
	// Open connects to an address that is no name, where the kernel does not
	// probe; nil does as net.Dialer. It may leave it to the first write to tell
	// that there is no connection.
	Open func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects to the worker of a grant and passes the handshake on. The
// context bounds all of it.
func (d Dialer) Dial(ctx context.Context, g state.Grant, u Upgrade) (*Conn, error) {
	c, err := d.open(ctx, g.Endpoint)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	conn, err := handshake(c, g, u)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return conn, nil
}

func (d Dialer) open(ctx context.Context, endpoint string) (net.Conn, error) {
	if d.Open != nil && !d.Probe {
		if a, err := netip.ParseAddrPort(endpoint); err == nil && a.Addr().Zone() == "" {
			return d.Open(ctx, "tcp", endpoint)
		}
	}
	dialer := net.Dialer{KeepAlive: -1}
	if d.Probe {
		dialer.KeepAliveConfig = keepalive.Config()
	}
	return dialer.DialContext(ctx, "tcp", endpoint)
}

// readers are of one size; a session needs one for its worker's answer only.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

func handshake(c net.Conn, g state.Grant, u Upgrade) (*Conn, error) {
	if _, err := c.Write(request(g, u)); err != nil {
		return nil, err
	}
	r := readers.Get().(*bufio.Reader)
	r.Reset(c)
	defer func() {
		r.Reset(nil)
		readers.Put(r)
	}()
	head, status, err := readAnswer(r)
	if err != nil {
		return nil, err
	}
	if status != http.StatusSwitchingProtocols {
		return nil, refused(head, status, r)
	}
	early, _ := r.Peek(r.Buffered())
	return &Conn{Conn: c, Head: head, Early: bytes.Clone(early)}, nil
}

func request(g state.Grant, u Upgrade) []byte {
	var b bytes.Buffer
	b.WriteString("GET /session HTTP/1.1\r\nHost: " + g.Endpoint + "\r\n")
	_ = u.Header.Write(&b)
	for _, h := range [][2]string{
		{"x-pwdist-session", g.Session}, {"x-pwdist-attempt", strconv.Itoa(g.Attempt)}, {"x-pwdist-proxy", u.Proxy}, {"x-pwdist-voucher", u.Voucher},
		{"x-pwdist-name", u.Name}, {"x-pwdist-labels", u.Labels}, {"x-pwdist-token", u.Token}, {"x-pwdist-client", u.Client},
	} {
		if h[1] != "" {
			b.WriteString(h[0] + ": " + h[1] + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

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

func readHead(r *bufio.Reader) ([]byte, error) {
	var head []byte
	for {
		line, err := r.ReadSlice('\n')
		head = append(head, line...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(head) > maxHead {
			return nil, fmt.Errorf("the answer's head is longer than %d bytes", maxHead)
		}
		if err == nil && len(bytes.TrimRight(line, "\r\n")) == 0 && bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			return head, nil
		}
	}
}

func statusOf(head []byte) (int, error) {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	parts := strings.SplitN(string(line), " ", 3)
	if len(parts) < 2 || !strings.HasPrefix(parts[0], "HTTP/1.") {
		return 0, fmt.Errorf("not an HTTP answer: %q", firstLine(string(line)))
	}
	status, err := strconv.Atoi(parts[1])
	if err != nil {
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
