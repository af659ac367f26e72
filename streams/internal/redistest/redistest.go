// Package redistest runs a redis-server of its own for a test.
package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/rueidis"
)

// Server is a Redis without persistence, on a TCP port of the loopback interface
// and on a Unix socket. It ends with the test.
type Server struct {
	Addr   string // host:port
	Socket string

	t    testing.TB
	args []string
	cmd  *exec.Cmd
}

// Start runs a server; args are added to its command line.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	// Not t.TempDir: the path of a socket has at most 107 characters.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Addr: freeAddr(t), Socket: filepath.Join(dir, "s"), args: args}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(dir)
	})
	s.Start()
	return s
}

// Start runs the server again after Stop, empty and at the same addresses.
func (s *Server) Start() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--unixsocket", s.Socket, "--save", "", "--appendonly", "no",
		"--dir", filepath.Dir(s.Socket)}, s.args...)
	s.cmd = exec.Command("redis-server", args...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		said = append(said, lines.Text())
		// The line for the socket is the last one.
		if strings.Contains(lines.Text(), "at "+s.Socket) {
			go func() {
				for lines.Scan() { //nolint:revive // keeps the pipe empty
				}
			}()
			return
		}
	}
	s.t.Fatalf("redis-server did not start:\n%s", strings.Join(said, "\n"))
}

// Stop kills the server. What it held is lost.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Freeze stops the server in the middle of everything, with its connections open.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// URL is the address of the server on TCP.
func (s *Server) URL() string { return "redis://" + s.Addr + "/0" }

// Client returns a client that ends with the test.
func (s *Server) Client() rueidis.Client {
	s.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr}, DisableCache: true, PipelineMultiplex: -1})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr())
}
