package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/testkit"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// asWorker makes this test's binary a worker: real processes, and the race
// detector sees into them.
const asWorker = "TEST_BINARY_IS_A_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is a worker that runs.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	temp  string
	gate  string
	admin string

	mu     sync.Mutex
	output bytes.Buffer
	exited chan struct{}
}

// launch starts a worker with what every test wants and more arguments over
// that.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	temp, err := os.MkdirTemp("", "pwt") // t.TempDir is too long for a socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	return launchIn(t, temp, args...)
}

func launchIn(t *testing.T, temp string, args ...string) *process {
	t.Helper()
	p := &process{t: t, temp: temp, gate: freeAddress(t), admin: freeAddress(t), exited: make(chan struct{})}
	dir, err := filepath.Abs("../../playwright")
	require.NoError(t, err)
	p.cmd = exec.Command(os.Args[0], append([]string{
		"--listen=" + p.gate, "--admin.listen=" + p.admin, "--playwright.dir=" + dir, "--log.level=debug", "--log.format=console",
		"--timing.heartbeat=500ms", "--timing.process_lease=5s", "--timing.start_lease=5s",
	}, args...)...)
	p.cmd.Env = append(os.Environ(), asWorker+"=1", "TMPDIR="+temp)
	p.cmd.Stderr = p
	p.cmd.Stdout = p
	p.cmd.WaitDelay = time.Second
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.exited
		p.awaitNoBrowser()
		if t.Failed() {
			t.Logf("the worker's output:\n%s", p.text())
		}
	})
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + testkit.FreePort(t)
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.exited:
	default:
		_ = p.cmd.Process.Signal(s)
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(testkit.Patience):
		p.t.Fatal("the worker does not end")
		return 0
	}
}

func (p *process) await(what string) {
	p.t.Helper()
	testkit.Await(p.t, "the worker says: "+what, func() bool { return strings.Contains(p.text(), what) })
}

func (p *process) ready() *process {
	p.t.Helper()
	testkit.Await(p.t, "the worker is ready", func() bool {
		select {
		case <-p.exited:
			p.t.Fatal("the worker has ended")
		default:
		}
		return p.status("/readyz") == http.StatusOK
	})
	return p
}

func (p *process) status(path string) int {
	resp, err := http.Get("http://" + p.admin + path)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// metric reads one line of /metrics.
func (p *process) metric(name string) string {
	p.t.Helper()
	resp, err := http.Get("http://" + p.admin + "/metrics")
	require.NoError(p.t, err)
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return value
		}
	}
	return ""
}

// browsers are the processes of the worker's browser, by their scratch files.
func (p *process) browsers() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err == nil && bytes.Contains(environ, []byte("\x00TMPDIR="+p.temp+"/")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (p *process) awaitNoBrowser() {
	p.t.Helper()
	testkit.Await(p.t, "the browser has gone", func() bool { return len(p.browsers()) == 0 })
}

// chromium is the browser's main process.
func (p *process) chromium() int {
	p.t.Helper()
	for _, pid := range p.browsers() {
		cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if err == nil && bytes.HasPrefix(cmdline, []byte("/usr/lib/chromium/")) {
			return pid
		}
	}
	p.t.Fatal("there is no Chromium")
	return 0
}

// fleet is a Redis with the pool that a worker joins.
type fleet struct {
	*testkit.Pool
	t     *testing.T
	redis *testkit.Redis
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	redis := testkit.StartRedis(t)
	o := state.DefaultOptions()
	o.Heartbeat, o.ProcessLease, o.StartLease = 500*time.Millisecond, 5*time.Second, 5*time.Second
	return &fleet{Pool: redis.Pool(o), t: t, redis: redis}
}

// assign has a proxy get a slot for a session.
func (f *fleet) assign(session string) state.Grant {
	f.t.Helper()
	_, err := f.ProxyHeartbeat(context.Background(), "p1", "")
	require.NoError(f.t, err)
	st, err := f.Acquire(context.Background(), state.Request{Session: session, Proxy: "p1", Demand: state.Demand{Browser: "chromium"}, QueueLimit: 10})
	require.NoError(f.t, err)
	require.Equal(f.t, state.Assigned, st.Phase, st.Reason)
	return st.Grant
}

func (f *fleet) awaitEvent(line string) {
	f.t.Helper()
	testkit.Await(f.t, "the log has "+line, func() bool { return slices.Contains(f.Events(), line) })
}

// client is a session through the gate, speaking as much of Playwright's
// protocol as a test needs.
type client struct {
	*websocket.Conn
	t       *testing.T
	last    int
	browser string // its name in the protocol
}

// knock asks the gate for a session as a proxy does, for a client of our version.
func (p *process) knock(session string, attempt int) (*websocket.Conn, *http.Response, error) {
	return p.knockAs("1.65.1", session, attempt)
}

func (p *process) knockAs(version, session string, attempt int) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	return websocket.Dial(ctx, "ws://"+p.gate+"/session", &websocket.DialOptions{HTTPHeader: http.Header{
		"User-Agent":           {"Playwright/" + version + " (x64; debian 12) node/20.0"},
		"X-Pwdist-Session":     {session},
		"X-Pwdist-Attempt":     {strconv.Itoa(attempt)},
		"X-Pwdist-Proxy":       {"p1"},
		"X-Playwright-Browser": {"chromium"},
	}})
}

// refused returns why the gate does not let a session in.
func (p *process) refused(session string, attempt int) (status int, code string) {
	p.t.Helper()
	c, resp, err := p.knock(session, attempt)
	if err == nil {
		_ = c.CloseNow()
		p.t.Fatal("it was let in")
	}
	require.NotNil(p.t, resp, err)
	return resp.StatusCode, resp.Header.Get("x-pwdist-refusal")
}

func (p *process) open(f *fleet, session string) *client {
	p.t.Helper()
	g := f.assign(session)
	require.Equal(p.t, p.gate, g.Endpoint)
	conn, resp, err := p.knock(session, g.Attempt)
	require.NoError(p.t, err)
	_ = resp.Body
	conn.SetReadLimit(-1)
	p.t.Cleanup(func() { _ = conn.CloseNow() })
	c := &client{Conn: conn, t: p.t}
	made := c.call("", "initialize", `{"sdkLanguage":"javascript"}`, "Browser")
	require.Regexp(p.t, `^\d+\.\d+\.\d+\.\d+$`, made["version"])
	c.browser, _ = made["guid"].(string)
	return c
}

// call makes a call of the protocol and returns the initializer of the object
// of that type which came before the answer.
func (c *client) call(guid, method, params, want string) map[string]any {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	c.last++
	err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"id":%d,"guid":%q,"method":%q,"params":%s,"metadata":{}}`, c.last, guid, method, params))
	require.NoError(c.t, err)
	var made map[string]any
	for {
		_, text, err := c.Read(ctx)
		require.NoError(c.t, err)
		var m struct {
			ID     int
			Error  json.RawMessage
			Params struct {
				Type        string
				GUID        string
				Initializer map[string]any
			}
		}
		require.NoError(c.t, json.Unmarshal(text, &m))
		if m.Params.Type == want && m.Params.Initializer != nil {
			made = m.Params.Initializer
			made["guid"] = m.Params.GUID
		}
		if m.ID == c.last {
			require.Empty(c.t, m.Error, "%s", m.Error)
			return made
		}
	}
}

// alive proves that the session works.
func (c *client) alive() {
	c.t.Helper()
	require.NotEmpty(c.t, c.call(c.browser, "newContext", `{}`, "BrowserContext"))
}

// closed returns the code with which the session is closed, -1 without one.
func (c *client) closed() websocket.StatusCode {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			require.NotErrorIs(c.t, err, context.DeadlineExceeded)
			return websocket.CloseStatus(err)
		}
	}
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(1)
	if !errors.Is(err, io.EOF) {
		require.NoError(t, err)
	}
	require.Empty(t, names)
}
