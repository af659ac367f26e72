package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// NodeDir is the folder of the stock Node clients.
func NodeDir() string { return filepath.Join(Root(), "tests/integration/clients/node") }

// driver is a Node process that runs stock Playwright clients on command, see
// clients/node/driver.mjs. One serves all tests, which saves starting Node and
// loading Playwright for each session.
type driver struct {
	in   io.WriteCloser
	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	last  int
	calls map[int]chan answer
	lost  map[int]chan struct{} // browser → closed when it has disconnected
	err   error
}

type answer struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
	Lost  int             `json:"lost"`
}

// theOnly starts the driver when it is first wanted.
var theOnly struct {
	once sync.Once
	d    *driver
	err  error
}

func theDriver(tb testing.TB) *driver {
	tb.Helper()
	theOnly.once.Do(func() { theOnly.d, theOnly.err = startDriver() })
	if theOnly.err != nil {
		tb.Fatal(theOnly.err)
	}
	return theOnly.d
}

func startDriver() (*driver, error) {
	if _, err := os.Stat(filepath.Join(NodeDir(), "node_modules/playwright")); err != nil {
		return nil, errors.New("the Node clients are not installed: run make install-test")
	}
	d := &driver{calls: map[int]chan answer{}, lost: map[int]chan struct{}{}, done: make(chan struct{})}
	d.cmd = exec.Command("node", "driver.mjs")
	d.cmd.Dir, d.cmd.Env, d.cmd.Stderr = NodeDir(), cleanEnv(), os.Stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the Node client: %w", err)
	}
	go d.read(out)
	return d, nil
}

// stopDriver ends the process, if there is one.
func stopDriver() {
	d := theOnly.d
	if d == nil {
		return
	}
	_ = d.in.Close() // which ends it
	select {
	case <-d.done:
	case <-time.After(5 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
	}
}

func (d *driver) read(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			d.fail(fmt.Errorf("the Node client said %q: %w", line, err))
			continue
		}
		d.mu.Lock()
		if a.Lost != 0 {
			if lost := d.lostLocked(a.Lost); !closed(lost) {
				close(lost)
			}
		} else if to := d.calls[a.ID]; to != nil {
			to <- a
			delete(d.calls, a.ID)
		}
		d.mu.Unlock()
	}
	_ = d.cmd.Wait() // the state tells more
	d.fail(errors.New("the Node client has ended: " + d.cmd.ProcessState.String()))
	close(d.done)
}

func (d *driver) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
	for id, to := range d.calls {
		to <- answer{Error: err.Error()}
		delete(d.calls, id)
	}
}

func (d *driver) lostLocked(handle int) chan struct{} {
	if d.lost[handle] == nil {
		d.lost[handle] = make(chan struct{})
	}
	return d.lost[handle]
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

type args map[string]any

// begin sends a command; the channel gets its answer.
func (d *driver) begin(op string, a args) <-chan answer {
	to := make(chan answer, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		to <- answer{Error: d.err.Error()}
		return to
	}
	d.last++
	d.calls[d.last] = to
	command := args{"id": d.last, "op": op}
	maps.Copy(command, a)
	line, err := json.Marshal(command)
	if err == nil {
		_, err = d.in.Write(append(line, '\n'))
	}
	if err != nil {
		delete(d.calls, d.last)
		to <- answer{Error: err.Error()}
	}
	return to
}

// ClientError is what a Playwright client threw.
type ClientError struct{ Op, Message string }

// Error implements error.
func (e *ClientError) Error() string { return e.Op + ": " + e.Message }

func (d *driver) call(ctx context.Context, op string, a args) (json.RawMessage, error) {
	select {
	case got := <-d.begin(op, a):
		if got.Error != "" {
			return nil, &ClientError{Op: op, Message: got.Error}
		}
		return got.Value, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: no answer from the client: %w", op, ctx.Err())
	}
}

// ConnectOptions are those of a stock client's connect().
type ConnectOptions struct {
	Browser string            `json:"-"` // chromium unless set
	Headers map[string]string `json:"headers,omitempty"`
	Timeout int               `json:"timeout,omitempty"` // ms

	ExposeNetwork string `json:"exposeNetwork,omitempty"` //nolint:tagliatelle // as Playwright writes it
}

func (o ConnectOptions) args(url string) args {
	a := args{"url": url, "browser": o.Browser, "options": o}
	if o.Browser == "" {
		a["browser"] = "chromium"
	}
	return a
}

// Browser is a connected client.
type Browser struct {
	handle

	Version string
	lost    chan struct{}
}

// Context is a browser context of a client.
type Context struct{ handle }

// Page is a page of a client.
type Page struct{ handle }

type handle struct {
	d  *driver
	id int
}

func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*Patience)
}

// Connect connects a stock client. The browser is closed with the test.
func Connect(tb testing.TB, url string, options ...ConnectOptions) *Browser {
	tb.Helper()
	b, err := TryConnect(tb, url, options...)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TryConnect is Connect for a client that may be refused. It may run in
// another goroutine than the test's.
func TryConnect(tb testing.TB, url string, options ...ConnectOptions) (*Browser, error) {
	return tryConnect(tb, "connect", url, options...)
}

// TryConnectOverCDP connects a client that speaks the Chrome DevTools Protocol.
func TryConnectOverCDP(tb testing.TB, url string, options ...ConnectOptions) (*Browser, error) {
	return tryConnect(tb, "connectOverCDP", url, options...)
}

func tryConnect(tb testing.TB, op, url string, options ...ConnectOptions) (*Browser, error) {
	d := theDriver(tb)
	var o ConnectOptions
	if len(options) > 0 {
		o = options[0]
	}
	ctx, cancel := deadline()
	defer cancel()
	value, err := d.call(ctx, op, o.args(url))
	if err != nil {
		return nil, err
	}
	var made struct {
		Handle  int    `json:"handle"`
		Version string `json:"version"`
	}
	if err := json.Unmarshal(value, &made); err != nil {
		return nil, err
	}
	b := &Browser{handle: handle{d, made.Handle}, Version: made.Version}
	d.mu.Lock()
	b.lost = d.lostLocked(made.Handle)
	d.mu.Unlock()
	tb.Cleanup(func() { _ = b.Close() })
	return b, nil
}

// Visit has a stock client connect, open a page in a context of its own, read
// its title and close.
func Visit(tb testing.TB, url, page string) (title string, err error) {
	a := ConnectOptions{}.args(url)
	a["page"] = page
	ctx, cancel := deadline()
	defer cancel()
	return as[string](theDriver(tb).call(ctx, "visit", a))
}

func as[T any](value json.RawMessage, err error) (T, error) {
	var v T
	if err == nil && len(value) > 0 {
		err = json.Unmarshal(value, &v)
	}
	return v, err
}

func (h handle) call(op string, a args) (json.RawMessage, error) {
	ctx, cancel := deadline()
	defer cancel()
	if a == nil {
		a = args{}
	}
	a["on"] = h.id
	return h.d.call(ctx, op, a)
}

// Close closes the browser, context or page.
func (h handle) Close() error {
	_, err := h.call("close", nil)
	return err
}

// Lost is closed when the browser has disconnected.
func (b *Browser) Lost() <-chan struct{} { return b.lost }

// AwaitLost returns when the client has seen its connection end.
func (b *Browser) AwaitLost(tb testing.TB) {
	tb.Helper()
	select {
	case <-b.lost:
	case <-time.After(Patience):
		tb.Fatalf("the client has not seen its connection end within %s", Patience)
	}
}

// Connected tells whether the client has not seen its connection end.
func (b *Browser) Connected() bool { return !closed(b.lost) }

// Contexts counts the contexts that the client sees.
func (b *Browser) Contexts(tb testing.TB) int {
	tb.Helper()
	return must[int](tb)(as[int](b.call("contexts", nil)))
}

// NewContext makes a context.
func (b *Browser) NewContext(tb testing.TB) *Context {
	tb.Helper()
	return &Context{handle{b.d, must[int](tb)(as[int](b.call("newContext", nil)))}}
}

// NewPage makes a page.
func (c *Context) NewPage(tb testing.TB) *Page {
	tb.Helper()
	return &Page{handle{c.d, must[int](tb)(as[int](c.call("newPage", nil)))}}
}

// Cookie is a cookie of a context.
type Cookie struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	URL   string `json:"url,omitempty"`
}

// AddCookies puts cookies into the context.
func (c *Context) AddCookies(tb testing.TB, cookies ...Cookie) {
	tb.Helper()
	must[json.RawMessage](tb)(c.call("addCookies", args{"cookies": cookies}))
}

// Cookies lists the cookies of the context.
func (c *Context) Cookies(tb testing.TB) []Cookie {
	tb.Helper()
	return must[[]Cookie](tb)(as[[]Cookie](c.call("cookies", nil)))
}

// Goto opens an address.
func (p *Page) Goto(url string) error {
	_, err := p.call("goto", args{"url": url})
	return err
}

// GotoWithin is Goto for a page that may never come.
func (p *Page) GotoWithin(limit time.Duration, url string) error {
	_, err := p.call("goto", args{"url": url, "timeout": limit.Milliseconds()})
	return err
}

// Title reads the title.
func (p *Page) Title() (string, error) { return as[string](p.call("title", nil)) }

// Text reads the text that the page shows.
func (p *Page) Text() (string, error) {
	return as[string](p.call("evaluate", args{"expression": "document.documentElement.innerText"}))
}

// Evaluate runs an expression in the page and returns its value as text; null
// is empty.
func (p *Page) Evaluate(tb testing.TB, expression string) string {
	tb.Helper()
	value := must[json.RawMessage](tb)(p.call("evaluate", args{"expression": expression}))
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return strings.TrimPrefix(string(value), "null")
}

func must[T any](tb testing.TB) func(T, error) T {
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// OpenPage makes a page in a context of its own and opens an address.
func (b *Browser) OpenPage(tb testing.TB, url string) *Page {
	tb.Helper()
	page := b.NewContext(tb).NewPage(tb)
	if err := page.Goto(url); err != nil {
		tb.Fatal(err)
	}
	return page
}
