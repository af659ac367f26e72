// Package redistest runs a redis-server of its own for a test.
package redistest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
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
	s := &Server{t: t, Socket: filepath.Join(dir, "s"), args: args}
	t.Cleanup(func() {
		s.Stop()
		os.RemoveAll(dir)
	})
	s.Addr = freeAddr(t)
	s.Start()
	return s
}

// Start runs the server again after Stop, empty and at the same addresses.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) run() error {
	_, port, _ := net.SplitHostPort(s.Addr)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--unixsocket", s.Socket, "--save", "", "--appendonly", "no",
		"--dir", filepath.Dir(s.Socket)}, s.args...)
	cmd := exec.Command("redis-server", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var said []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		said = append(said, lines.Text())
		// The line for the socket is the last one.
		if strings.Contains(lines.Text(), "at "+s.Socket) {
			s.cmd = cmd
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return nil
		}
	}
	_ = cmd.Wait()
	return fmt.Errorf("redis-server did not start:\n%s", strings.Join(said, "\n"))
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

// freeAddr finds a port below those that the system gives to outgoing
// connections: such a one could be taken while a server is stopped. No test gets
// it again as long as this one's binary runs.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		if port := 20000 + rand.N(12000); keep(port) {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatal("no free port between 20000 and 32000")
	return ""
}

// keep takes a port with a socket that never listens and is never closed. It is
// bound before it allows others to share the port: so it fails where there is
// one already, of whatever test binary, while a server, which always allows it,
// can listen.
func keep(port int) bool {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	}
	if err != nil {
		_ = syscall.Close(fd)
	}
	return err == nil
}
