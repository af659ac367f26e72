package confine

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asProbe makes this test's binary the program that is confined.
const asProbe = "TEST_BINARY_PROBES"

func TestMain(m *testing.M) {
	if file := os.Getenv(asProbe); file != "" {
		probe(file)
		return
	}
	os.Exit(m.Run())
}

// world is what the probe tries, from where the test has put it.
type world struct {
	Open, Closed   string // folders that it may write, and none
	Readable       string
	Port, Other    int // TCP ports that listen
	Datagrams      int
	Parent         int
	AbstractSocket string
}

// probe tries everything and prints what came of it: ok or an error.
func probe(file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var w world
	if err := json.Unmarshal(raw, &w); err != nil {
		panic(err)
	}
	results := map[string]string{}
	try := func(name string, err error) {
		results[name] = "ok"
		if err != nil {
			results[name] = err.Error()
		}
	}
	read := func(path string) error { _, err := os.ReadFile(path); return err }
	try("read the open", read(filepath.Join(w.Open, "file")))
	try("read the readable", read(w.Readable))
	try("read the closed", read(filepath.Join(w.Closed, "file")))
	_, err = os.ReadDir(w.Closed)
	try("list the closed", err)
	link := filepath.Join(w.Open, "link")
	_ = os.Symlink(filepath.Join(w.Closed, "file"), link) // reading tells
	try("read by a link", read(link))
	try("write the open", os.WriteFile(filepath.Join(w.Open, "new"), nil, 0o600))
	try("write the readable", os.WriteFile(w.Readable, nil, 0o600))
	try("write the closed", os.WriteFile(filepath.Join(w.Closed, "new"), nil, 0o600))
	try("passwords", read("/etc/passwd"))
	try("execute the readable", exec.Command("/bin/true").Run())
	script := filepath.Join(w.Open, "script")
	_ = os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700)
	try("execute what it wrote", exec.Command(script).Run())
	out, err := exec.Command("/bin/cat", filepath.Join(w.Closed, "file")).CombinedOutput()
	try("read by a child", err)
	results["what a child read"] = strings.TrimSpace(string(out))
	try("signal the parent", syscall.Kill(w.Parent, 0))
	_, err = os.Open("/proc/" + strconv.Itoa(w.Parent) + "/mem")
	try("memory of the parent", err)

	dial := func(network, address string) error {
		c, err := net.Dial(network, address)
		if err == nil {
			_, err = c.Write([]byte("x"))
			_ = c.Close()
		}
		return err
	}
	at := func(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
	try("the port", dial("tcp", at(w.Port)))
	try("another port", dial("tcp", at(w.Other)))
	try("a datagram", dial("udp", at(w.Datagrams)))
	_, err = net.Listen("tcp", "127.0.0.1:0")
	try("listen", err)
	_, err = net.Listen("unix", filepath.Join(w.Open, "sock"))
	try("listen at a Unix socket", err)
	try("abstract socket", dial("unix", w.AbstractSocket))
	for name, s := range map[string][3]int{
		"socket inet dgram": {unix.AF_INET, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC, 0}, "socket inet6 dgram": {unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_UDP},
		"socket inet raw": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, "socket icmp": {unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
		"socket mptcp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "socket sctp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		"socket vsock": {unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "socket packet": {unix.AF_PACKET, unix.SOCK_DGRAM, 0},
		"socket tcp": {unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_NONBLOCK, unix.IPPROTO_TCP}, "socket tcp6": {unix.AF_INET6, unix.SOCK_STREAM, 0},
		"socket unix": {unix.AF_UNIX, unix.SOCK_DGRAM, 0}, "socket netlink": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
	} {
		fd, err := unix.Socket(s[0], s[1], s[2])
		try(name, err)
		if err == nil {
			_ = unix.Close(fd)
		}
	}
	try("fast open", func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, &unix.SockaddrInet4{Port: w.Other, Addr: [4]byte{127, 0, 0, 1}})
	}())
	_, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0)
	results["io_uring"] = errno.Error()
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}

// start runs the probe under rules.
func start(t *testing.T, w world, rules *Rules) map[string]string {
	t.Helper()
	file := filepath.Join(w.Open, "world")
	raw, err := json.Marshal(w)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, raw, 0o600))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProbe+"="+file)
	type result struct {
		out []byte
		err error
	}
	done := make(chan result)
	Go(rules, func(err error) {
		if err != nil {
			done <- result{nil, err}
			return
		}
		out, err := cmd.Output()
		done <- result{out, err}
	})
	got := <-done
	require.NoError(t, got.err, string(got.out))
	var results map[string]string
	require.NoError(t, json.Unmarshal(got.out, &results))
	return results
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{Open: t.TempDir(), Closed: t.TempDir(), Readable: filepath.Join(t.TempDir(), "readable"), Parent: os.Getpid()}
	for _, file := range []string{filepath.Join(w.Open, "file"), filepath.Join(w.Closed, "file"), w.Readable} {
		require.NoError(t, os.WriteFile(file, []byte("content"), 0o600))
	}
	listen := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l.Addr().(*net.TCPAddr).Port
	}
	w.Port, w.Other = listen(), listen()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	w.Datagrams = c.LocalAddr().(*net.UDPAddr).Port
	w.AbstractSocket = "@pwdist-test-" + strconv.Itoa(os.Getpid())
	l, err := net.Listen("unix", w.AbstractSocket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return w
}

// rulesFor let the probe run.
func rulesFor(w world) *Rules {
	exe, _ := os.Executable()
	return &Rules{
		Read:  []string{"/usr", "/bin", "/lib", "/lib64", "/proc", "/etc/ld.so.cache", exe, w.Readable, "/nowhere"},
		Write: []string{w.Open, "/dev/null"},
	}
}

const (
	ok      = "ok"
	denied  = "permission denied"
	refused = "operation not permitted"
)

func TestFiles(t *testing.T) {
	w := newWorld(t)
	needs(t, abiScope)
	got := start(t, w, rulesFor(w))
	for name, want := range map[string]string{
		"read the open": ok, "read the readable": ok, "read the closed": denied, "list the closed": denied, "read by a link": denied,
		"write the open": ok, "write the readable": denied, "write the closed": denied, "passwords": denied,
		"execute the readable": ok, "execute what it wrote": denied, "read by a child": "exit status 1", "what a child read": "ermission denied",
		"signal the parent": refused, "memory of the parent": denied,
		"the port": ok, "another port": ok, "a datagram": ok, "listen": ok, "listen at a Unix socket": ok, "abstract socket": refused,
	} {
		contains(t, got, name, want)
	}
}

func TestNetwork(t *testing.T) {
	w := newWorld(t)
	needs(t, abiScope)
	rules := rulesFor(w)
	rules.HoldNetwork, rules.Ports = true, []uint16{uint16(w.Port)}
	got := start(t, w, rules)
	for name, want := range map[string]string{
		"the port": ok, "another port": denied, "a datagram": denied, "listen": denied, "listen at a Unix socket": ok,
		"socket inet dgram": denied, "socket inet6 dgram": denied, "socket inet raw": denied, "socket icmp": denied, "socket mptcp": denied,
		"socket sctp": denied, "socket vsock": denied, "socket packet": denied, "socket tcp": ok, "socket tcp6": ok, "socket unix": ok, "socket netlink": ok,
		"fast open": denied, "io_uring": "function not implemented", "passwords": denied, "read the open": ok,
	} {
		contains(t, got, name, want)
	}
}

// What is denied above is possible without rules, or the tests would say nothing.
func TestNoRules(t *testing.T) {
	w := newWorld(t)
	got := start(t, w, nil)
	for _, name := range []string{
		"read the closed", "list the closed", "read by a link", "write the closed", "passwords", "execute what it wrote", "read by a child", "signal the parent", "memory of the parent",
		"another port", "a datagram", "listen", "abstract socket", "socket inet dgram", "socket inet6 dgram",
	} {
		contains(t, got, name, ok)
	}
	require.NotContains(t, got["fast open"], denied)
	require.NotContains(t, got["io_uring"], "not implemented")
}

// The process itself stays free, on every thread that goes on.
func TestOnlyTheThreadIsConfined(t *testing.T) {
	needs(t, abiNetwork)
	w := newWorld(t)
	rules := rulesFor(w)
	rules.HoldNetwork = true
	for range 20 {
		over := make(chan error)
		Go(rules, func(err error) {
			if err == nil && unix.Gettid() == unix.Getpid() {
				panic("the main thread is confined")
			}
			if _, e := os.ReadFile("/etc/passwd"); e == nil {
				panic("the thread is free")
			}
			over <- err
		})
		require.NoError(t, <-over)
		// Other goroutines, and the threads that they may have to start.
		results := make(chan error)
		for range 20 {
			go func() {
				_, err := os.ReadFile("/etc/passwd")
				results <- err
			}()
		}
		for range 20 {
			require.NoError(t, <-results)
		}
	}
	// The confined threads end a moment after what they ran.
	require.Eventually(t, func() bool { return confined(t) == "" }, 10*time.Second, time.Millisecond, "a confined thread goes on")
}

// confined names a thread of this process that is confined, if there is one.
func confined(t *testing.T) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	require.NoError(t, err)
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && !strings.Contains(string(status), "NoNewPrivs:\t0") { // else it has just ended
			return task
		}
	}
	return ""
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	needs(t, abiNetwork)
	require.Empty(t, (&Rules{HoldNetwork: true}).Missing())
}

func needs(t *testing.T, abi int) {
	t.Helper()
	if landlockABI() < abi {
		t.Skipf("this kernel's Landlock is of version %d; the test needs %d", landlockABI(), abi)
	}
}

func contains(t *testing.T, got map[string]string, name, want string) {
	t.Helper()
	if want == "" || want == ok {
		require.Equal(t, want, got[name], name)
		return
	}
	require.Contains(t, got[name], want, name)
}
