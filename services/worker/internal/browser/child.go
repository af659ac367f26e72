package browser

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/confine"
)

const (
	socketName = "pw.sock"
	configName = "launch.json"
	tempName   = "tmp" // its TMPDIR
	// pipeTime is how long output of the server is waited for after its exit,
	// should something else hold its pipes.
	pipeTime = 500 * time.Millisecond
	// maxLine bounds a line of output; what is longer is cut.
	maxLine = 4096
)

// child is one run of the Playwright server.
type child struct {
	Endpoint
	dir    string
	log    *zap.Logger
	cmd    *exec.Cmd
	listen chan struct{} // closed when it has said where it listens
	exited chan struct{} // closed when it has ended, err is set then
	err    error
	output tail
}

// start runs a server. Its files are in a private directory, which the caller
// removes.
func start(o Options, node string, pw playwright, l launch, dir string, generation int) (*child, error) {
	c := &child{
		Endpoint: Endpoint{Generation: generation, Socket: filepath.Join(dir, socketName), Path: "/" + rand.Text()},
		dir:      dir,
		log:      o.Log,
		listen:   make(chan struct{}),
		exited:   make(chan struct{}),
	}
	temp := filepath.Join(dir, tempName)
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, fmt.Errorf("scratch directory: %w", err)
	}
	config, err := c.writeConfig(o, l)
	if err != nil {
		return nil, err
	}
	args, err := preload(dir, o.OwnClipboards && o.Type == Chromium)
	if err != nil {
		return nil, err
	}
	args = append(args, pw.cli, "launch-server", "--browser", o.Type, "--config", config)
	c.cmd = exec.CommandContext(context.Background(), node, args...)
	c.cmd.Dir = temp
	c.cmd.Env = environment(o.Environ, temp)
	if l.ffmpeg != "" {
		builds := filepath.Join(dir, buildsName)
		if err := pw.layOut(builds, l.ffmpeg, o.Environ); err != nil {
			return nil, fmt.Errorf("place of ffmpeg: %w", err)
		}
		c.cmd.Env = append(c.cmd.Env, browsersPath+"="+builds)
	}
	c.cmd.WaitDelay = pipeTime
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		// A group of its own, so that Ctrl-C on a terminal reaches the worker
		// alone, which ends the server when its sessions have ended.
		Setpgid:   true,
		Pdeathsig: syscall.SIGKILL,
	}
	return c, c.run(confinement(o, node, pw, l, dir))
}

func (c *child) writeConfig(o Options, l launch) (string, error) {
	config := map[string]any{
		"args":            append([]string{}, o.Args...), // null is no list
		"headless":        o.Headless,
		"chromiumSandbox": o.Sandbox,
		"timeout":         o.StartTimeout.Milliseconds(),
		"port":            c.Socket,
		"wsPath":          c.Path,
	}
	if o.EgressPort != nil {
		holdEgress(config, o)
	}
	if l.executable != "" {
		config["executablePath"] = l.executable
	}
	if l.channel != "" {
		config["channel"] = l.channel
	}
	b, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("launch options: %w", err)
	}
	path := filepath.Join(c.dir, configName)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return "", fmt.Errorf("launch options: %w", err)
	}
	return path, nil
}

// aroundProxy is a variable with which Playwright lets loopback be an exception
// of the proxies of contexts, such as its own for client certificates.
const aroundProxy = "PLAYWRIGHT_DISABLE_FORCED_CHROMIUM_PROXIED_LOOPBACK"

// environment is the server's: its own scratch folder, and nothing of the
// worker's settings, which hold the Redis password, nor what leads around its
// proxy.
func environment(environ []string, temp string) []string {
	env := make([]string, 0, len(environ)+1)
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "PWDIST_") || name == "REDIS_URL" || name == "TMPDIR" || name == aroundProxy {
			continue
		}
		env = append(env, e)
	}
	return append(env, "TMPDIR="+temp)
}

// run starts the process and a goroutine that waits for its end.
func (c *child) run(rules *confine.Rules) error {
	stdout, stderr := c.lines(c.said), c.lines(c.complained)
	c.cmd.Stdout, c.cmd.Stderr = stdout, stderr
	started := make(chan error, 1)
	// Linux sends the parent-death signal when the thread that forked ends, so
	// that thread belongs to the child for as long as it lives.
	confine.Go(rules, func(err error) {
		if err == nil {
			err = c.cmd.Start()
		}
		if err == nil {
			// A browser of gigabytes that crashes must not fill the disk. It inherits
			// this from the server, which takes a while to start it.
			_ = unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
		}
		started <- err
		if err == nil {
			err = c.cmd.Wait()
			if errors.Is(err, exec.ErrWaitDelay) {
				err = nil
			}
		}
		_ = stdout.Close()
		_ = stderr.Close()
		c.err = err
		close(c.exited)
	})
	if err := <-started; err != nil {
		return fmt.Errorf("start the Playwright server: %w", err)
	}
	return nil
}

// lines returns a writer whose lines go to handle, each without its end. The
// last ones have been handled when its Close returns.
func (c *child) lines(handle func(string)) io.WriteCloser {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := bufio.NewReaderSize(r, maxLine)
		for {
			line, more, err := in.ReadLine()
			if err != nil {
				return
			}
			handle(strings.TrimRight(string(line), "\r"))
			for more && err == nil {
				_, more, err = in.ReadLine()
			}
		}
	}()
	return &lineWriter{PipeWriter: w, done: done}
}

type lineWriter struct {
	*io.PipeWriter
	done <-chan struct{}
}

func (w *lineWriter) Close() error {
	err := w.PipeWriter.Close()
	<-w.done
	return err
}

// said takes a line of standard output: the server's only one is its endpoint.
func (c *child) said(line string) {
	select {
	case <-c.listen:
	default:
		if line == c.Socket+c.Path {
			close(c.listen)
			return
		}
	}
	c.log.Debug("playwright: " + line)
}

func (c *child) complained(line string) {
	c.output.add(line)
	if strings.TrimSpace(line) != "" {
		c.log.Debug("playwright: " + line)
	}
}

// stop lets the server close its browser, until cut is closed or the time is
// over; then it kills.
func (c *child) stop(cut <-chan struct{}, patience time.Duration) {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.exited:
		return
	case <-cut:
	case <-timer.C:
	}
	c.kill()
}

// kill ends the server at once and waits for that.
func (c *child) kill() {
	select {
	case <-c.exited:
		// Its process id may belong to somebody else by now.
	default:
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		<-c.exited
	}
}

// why says in one line how the server ended.
func (c *child) why() string {
	text := "the Playwright server ended"
	var exit *exec.ExitError
	switch {
	case errors.As(c.err, &exit) && exit.ExitCode() < 0:
		text += ": " + exit.Error() // killed by a signal
	case c.err == nil:
		text = "the browser ended, and with it the Playwright server"
	}
	if essence := c.output.essence(); essence != "" {
		text += ": " + essence
	}
	return text
}

// tail keeps the last lines of output.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 100

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// essence finds what a person needs in a long report of Node.js: what the
// browser said last, else the error.
func (t *tail) essence() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var failed, browser string
	for _, line := range t.lines {
		if _, said, ok := strings.Cut(line, "][err] "); ok && strings.HasPrefix(line, "[pid=") {
			browser = said
		}
		name, text, ok := strings.Cut(line, ": ")
		if failed == "" && ok && strings.HasSuffix(name, "Error") && !strings.Contains(name, " ") {
			failed = strings.TrimSuffix(text, " Failed to launch browser.")
		}
	}
	if browser != "" {
		return shorten(browser)
	}
	return shorten(failed)
}

func shorten(s string) string {
	const limit = 300
	s = strings.TrimSpace(s)
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
