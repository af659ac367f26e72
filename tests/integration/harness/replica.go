package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Replica follows a Redis as a replica does: it gets every write, in order, and
// what one script wrote as one piece. So whoever keeps account of the writes sees
// each state that the data was in, however short.
type Replica struct {
	conn   net.Conn
	in     *bufio.Reader
	offset int64 // bytes of the stream so far
	done   chan struct{}

	mu  sync.Mutex
	err error
}

// Replicate begins to follow. What is in Redis already is not told. Each piece is
// the list of the commands that wrote it; apply gets them one after the other, in
// another goroutine.
func (r *Redis) Replicate(tb testing.TB, apply func(piece [][]string)) *Replica {
	tb.Helper()
	conn, err := net.Dial("tcp", r.Address)
	if err != nil {
		tb.Fatal(err)
	}
	f := &Replica{conn: conn, in: bufio.NewReaderSize(conn, 1<<16), done: make(chan struct{})}
	if err := f.begin(); err != nil {
		tb.Fatalf("follow Redis as a replica: %v", err)
	}
	go func() {
		defer close(f.done)
		err := f.follow(apply)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
	}()
	return f
}

// Stop ends it and returns when the last piece was applied. An error tells that
// Redis ended it first, so that something may be missing.
func (f *Replica) Stop() error {
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	_ = f.conn.Close() // which ends follow
	<-f.done
	return err
}

// begin asks for the stream and skips the snapshot before it.
func (f *Replica) begin() error {
	if _, err := f.conn.Write([]byte("PSYNC ? -1\r\n")); err != nil {
		return err
	}
	answer, err := f.line()
	if err == nil && !strings.HasPrefix(answer, "+FULLRESYNC ") {
		err = fmt.Errorf("answer %q", answer)
	}
	if err != nil {
		return err
	}
	size := ""
	for size == "" { // Redis sends empty lines while it makes the snapshot
		if size, err = f.line(); err != nil {
			return err
		}
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(size, "$"), 10, 64)
	if err != nil {
		return fmt.Errorf("snapshot: %q", size)
	}
	_, err = io.CopyN(io.Discard, f.in, n)
	return err
}

func (f *Replica) line() (string, error) {
	s, err := f.in.ReadString('\n')
	f.offset += int64(len(s))
	return strings.TrimRight(s, "\r\n"), err
}

func (f *Replica) follow(apply func([][]string)) error {
	f.offset = 0
	var piece [][]string
	together := false
	for {
		c, err := f.command()
		if err != nil {
			return err
		}
		switch strings.ToUpper(c[0]) {
		case "MULTI":
			together = true
			continue
		case "EXEC":
			together = false
		case "PING", "REPLCONF":
			// Redis gives up a replica that says nothing for a minute.
			ack := strconv.FormatInt(f.offset, 10)
			if _, err := fmt.Fprintf(f.conn, "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$%d\r\n%s\r\n", len(ack), ack); err != nil {
				return err
			}
			continue
		case "SELECT":
			continue
		default:
			piece = append(piece, c)
		}
		if !together {
			apply(piece)
			piece = nil
		}
	}
}

func (f *Replica) command() ([]string, error) {
	n, err := f.number('*')
	if err != nil {
		return nil, err
	}
	c := make([]string, n)
	for i := range c {
		size, err := f.number('$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(f.in, b); err != nil {
			return nil, err
		}
		f.offset += int64(len(b))
		c[i] = string(b[:size])
	}
	if n == 0 {
		return nil, errors.New("a command without a name")
	}
	return c, nil
}

func (f *Replica) number(kind byte) (int, error) {
	s, err := f.line()
	if err != nil {
		return 0, err
	}
	if s == "" || s[0] != kind {
		return 0, fmt.Errorf("%q in the stream of writes", s)
	}
	return strconv.Atoi(s[1:])
}
