package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that a test started.
type Process struct {
	Name string

	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Command says what to start.
type Command struct {
	Name  string
	Path  string
	Args  []string
	Env   []string // on top of the clean environment
	Dir   string
	Files []*os.File // its descriptors from 3 on
	Group bool       // a process group of its own, for signals as from a terminal
	First bool       // the first process of a namespace, as in a container; see NeedPIDNamespace
}

// Start runs a program. Its output goes to a file in dir that a failing test
// shows. The caller sees to it that it ends.
func Start(tb testing.TB, dir string, c Command) *Process {
	tb.Helper()
	p, err := start(dir, c)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func start(dir string, c Command) (*Process, error) {
	out, err := os.CreateTemp(dir, c.Name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	p := &Process{Name: c.Name, log: out.Name(), cmd: exec.Command(c.Path, c.Args...), done: make(chan struct{})}
	p.cmd.Env = append(cleanEnv(), c.Env...)
	p.cmd.Dir = c.Dir
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.ExtraFiles = c.Files
	// A test binary that is killed takes its processes with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: c.Group}
	if c.First {
		makeFirst(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is in ProcessState
		close(p.done)
	}()
	return p, nil
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running tells whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the process; to one that has ended it does nothing.
func (p *Process) Signal(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Fatalf("signal %s: %v", p.Name, err)
	}
}

// SignalGroup sends a signal to the whole process group, as a terminal does.
func (p *Process) SignalGroup(tb testing.TB, s syscall.Signal) {
	tb.Helper()
	if err := syscall.Kill(-p.PID(), s); err != nil {
		tb.Fatalf("signal the group of %s: %v", p.Name, err)
	}
}

// Terminate asks the process to end, which it must do with status 0 within the
// limit. One that has ended before is none of its business.
func (p *Process) Terminate(limit time.Duration) error {
	if !p.Running() {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
	case <-time.After(limit):
		p.dump()
		return fmt.Errorf("%s has not ended %s after SIGTERM; it printed:\n%s", p.Name, limit, p.Tail())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with status %d after SIGTERM", p.Name, code)
	}
	return nil
}

// Kill ends the process at once and returns when it has.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// ExitCode waits for the end of the process and returns its status, -1 after a
// signal.
func (p *Process) ExitCode(tb testing.TB, limit time.Duration) int {
	tb.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.dump()
		tb.Fatalf("%s (pid %d) has not ended after %s; it printed:\n%s", p.Name, p.PID(), limit, p.Tail())
		return 0
	}
}

// dump has a program that should have ended print what its goroutines wait for.
func (p *Process) dump() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // if it ends just now there is nothing to print
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.Kill()
	}
}

// Output is all that the process has printed so far.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail is the end of the output.
func (p *Process) Tail() string {
	const lines = 400
	all := strings.Split(strings.TrimRight(p.Output(), "\n"), "\n")
	if len(all) > lines {
		all = append([]string{fmt.Sprintf("… %d lines before", len(all)-lines)}, all[len(all)-lines:]...)
	}
	return strings.Join(all, "\n")
}

// Descendants lists what the process started, directly or not.
func (p *Process) Descendants() []Proc { return Descendants(p.PID()) }

// showOnFailure prints the output when the test has failed.
func (p *Process) showOnFailure(tb testing.TB) {
	if tb.Failed() {
		tb.Logf("── %s (pid %d, %s)\n%s", p.Name, p.PID(), filepath.Base(p.log), p.Tail())
	}
}

// faults returns the lines of the output that a sound program never prints.
func (p *Process) faults() []string {
	var found []string
	for line := range strings.Lines(p.Output()) {
		if strings.Contains(line, "DATA RACE") || strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// The services also read well-known names; what the caller's shell has set
// must not reach a test.
var ambient = []string{
	"REDIS_URL", "BROWSER_TYPE", "PRIVATE_HOSTNAME", "HEADLESS", "MAX_CONCURRENT_SESSIONS", "MAX_LIFETIME_SESSIONS",
	"MAX_QUEUE_SIZE", "QUEUE_WAIT_TIMEOUT", "DEFAULT_BROWSER_TYPE", "LOG_LEVEL", "LOG_FORMAT", "PORT", "WORKERS",
	"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GORACE",
}

func cleanEnv() []string {
	var env []string
next:
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "PWDIST_") {
			continue
		}
		for _, a := range ambient {
			if name == a {
				continue next
			}
		}
		env = append(env, v)
	}
	// The race detector would wait a second at the end of every process.
	return append(env, "GORACE=atexit_sleep_ms=0")
}

// Logged tells whether the process has printed a text.
func Logged(p *Process, text string) bool { return strings.Contains(p.Output(), text) }
