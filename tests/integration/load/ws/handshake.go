package ws

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// buffer is what a connection reads into. Thousands of them are open at once.
const buffer = 1024

const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	guid   = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// Refused is an answer other than 101.
type Refused struct{ Status string }

func (r *Refused) Error() string { return "refused: " + r.Status }

// handshakeTime bounds a handshake, queueing for a slot included.
const handshakeTime = 60 * time.Second

// Dial opens a connection to an address of the network (tcp or unix) and
// upgrades it at the path, with further headers, each "name: value".
func Dial(network, address, path string, headers ...string) (*Conn, error) {
	// Its clients stand for as many machines, whose probes would not all come at once.
	dialer := net.Dialer{Timeout: handshakeTime, KeepAlive: -1}
	raw, err := dialer.Dial(network, address)
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: raw, in: bufio.NewReaderSize(raw, buffer)}
	if err := c.ask(address, path, headers); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c, nil
}

// RequestText is the text of a client's handshake at an address and a path.
func RequestText(address, path string, headers ...string) string {
	var b strings.Builder
	b.WriteString("GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nSec-WebSocket-Version: 13\r\n")
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// Client is the client's side of a connection whose handshake is done, the
// answer read from in.
func Client(raw net.Conn, in *bufio.Reader) *Conn { return &Conn{Conn: raw, in: in} }

func (c *Conn) ask(address, path string, headers []string) error {
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(RequestText(address, path, headers...))); err != nil {
		return err
	}
	status, accepted := "", false
	err := eachLine(c.in, func(line string) {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case status == "":
			status = line
		case strings.EqualFold(name, "sec-websocket-accept"):
			accepted = strings.TrimSpace(value) == accept
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("read the answer: %w", err)
	case !strings.HasPrefix(status, "HTTP/1.1 101 "):
		return &Refused{Status: status}
	case !accepted:
		return errors.New("the answer is not to this handshake")
	}
	return c.SetDeadline(time.Time{})
}

// Request is a client's handshake.
type Request struct {
	Headers map[string]string // names in lower case

	conn *Conn
}

// Accept reads a client's handshake from a new connection.
func Accept(raw net.Conn) (Request, error) {
	c := &Conn{Conn: raw, in: bufio.NewReaderSize(raw, buffer)}
	r := Request{Headers: map[string]string{}, conn: c}
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return r, err
	}
	err := eachLine(c.in, func(line string) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			r.Headers[strings.ToLower(name)] = strings.TrimSpace(value)
		}
	})
	if err == nil && r.Headers["sec-websocket-key"] == "" {
		err = errors.New("no WebSocket handshake")
	}
	return r, err
}

// Upgrade answers the handshake with 101.
func (r Request) Upgrade() (*Conn, error) {
	sum := sha1.Sum([]byte(r.Headers["sec-websocket-key"] + guid))
	_, err := r.conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"))
	if err != nil {
		return nil, err
	}
	return r.conn, r.conn.SetDeadline(time.Time{})
}

// Refuse answers the handshake with a status such as "403 Forbidden".
func (r Request) Refuse(status string) {
	_, _ = r.conn.Write([]byte("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

// eachLine reads up to the empty line and hands on every line without its end.
func eachLine(r *bufio.Reader, f func(string)) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return nil
		}
		f(line)
	}
}
