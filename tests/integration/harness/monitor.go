package harness

import (
	"bufio"
	"context"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Monitor records the commands that Redis gets from others than the test.
type Monitor struct {
	conn net.Conn
	done chan struct{}

	mu   sync.Mutex
	seen []Seen
}

// Seen is one command.
type Seen struct {
	Client  string // address of the connection
	Command string // in upper case
	Line    string // the command with its arguments
}

// A line is like +1700000000.123456 [0 127.0.0.1:5000] "GET" "key".
var monitored = regexp.MustCompile(`^\+[0-9.]+ \[[0-9]+ ([^\]]+)\] ("([^"]*)".*)$`)

// Monitor starts to record.
func (r *Redis) Monitor(tb testing.TB) *Monitor {
	tb.Helper()
	own := r.ownConnections(tb)
	conn, err := net.Dial("tcp", r.Address)
	if err != nil {
		tb.Fatal(err)
	}
	m := &Monitor{conn: conn, done: make(chan struct{})}
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		tb.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if ok, err := in.ReadString('\n'); err != nil || ok != "+OK\r\n" {
		tb.Fatalf("MONITOR: %q %v", ok, err)
	}
	go m.read(in, own)
	return m
}

func (r *Redis) ownConnections(tb testing.TB) map[string]bool {
	list, err := r.do(context.Background(), "CLIENT", "LIST").ToString()
	if err != nil {
		tb.Fatal(err)
	}
	own := map[string]bool{}
	for row := range strings.Lines(list) {
		var address, name string
		for f := range strings.FieldsSeq(row) {
			if v, ok := strings.CutPrefix(f, "addr="); ok {
				address = v
			}
			if v, ok := strings.CutPrefix(f, "name="); ok {
				name = v
			}
		}
		if name == testClient {
			own[address] = true
		}
	}
	return own
}

func (m *Monitor) read(in *bufio.Reader, own map[string]bool) {
	defer close(m.done)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		f := monitored.FindStringSubmatch(strings.TrimSpace(line))
		// What scripts call belongs to the FCALL before it.
		if f == nil || f[1] == "lua" || own[f[1]] {
			continue
		}
		m.mu.Lock()
		m.seen = append(m.seen, Seen{Client: f[1], Command: strings.ToUpper(f[3]), Line: f[2]})
		m.mu.Unlock()
	}
}

// Seen are the commands so far.
func (m *Monitor) Seen() []Seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Seen(nil), m.seen...)
}

// Stop ends the record and returns it.
func (m *Monitor) Stop() []Seen {
	_ = m.conn.Close() // which ends the reader
	<-m.done
	return m.Seen()
}
