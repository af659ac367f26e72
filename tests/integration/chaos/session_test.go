package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/standin"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/load/ws"
)

// silence is how long a client waits for anything at all before it writes down
// that it got no answer: longer than any fault and any limit of the pool.
const silence = 45 * time.Second

// outcome of a client's request.
type outcome string

const (
	granted  outcome = "granted"
	refused  outcome = "refused"
	left     outcome = "left before an answer" // on purpose
	unheard  outcome = "not heard"             // the connection ended, or was refused, without an answer
	noAnswer outcome = "no answer"
)

// ending of a session.
type ending string

const (
	goodbye ending = "goodbye"  // by a close frame that was answered
	dropped ending = "dropped"  // by the client, with or without a reset
	closed  ending = "closed"   // by a close frame from the other side
	broken  ending = "broken"   // the connection ended
	hung    ending = "hung"     // neither an answer nor an end
	garbled ending = "garbled"  // what came back is not what was asked for
	begun   ending = "not over" // none of it
)

// record is what one client writes down.
type record struct {
	name  string
	proxy int
	asked time.Time
	heard time.Time // when the outcome was known

	outcome outcome
	answer  int         // status of the answer
	header  http.Header // of the answer
	body    string      // of a refusal
	after   int         // bytes that followed a refusal

	session string
	home    string // what served it, as that said
	server  string
	first   time.Time // certainly served from here
	last    time.Time // until here
	ending  ending
	ended   time.Time
	detail  string
	sent    int64 // messages
}

func (r record) String() string {
	text := fmt.Sprintf("%s over proxy %d, asked %s: %s", r.name, r.proxy+1, clock(r.asked), r.outcome)
	switch r.outcome {
	case granted:
		text += fmt.Sprintf(" session %s at %s by %s; %s at %s", r.session, clock(r.heard), r.server, r.ending, clock(r.ended))
	case refused:
		text += fmt.Sprintf(" with %d at %s: %q", r.answer, clock(r.heard), r.body)
	default:
		text += " at " + clock(r.heard)
	}
	if r.detail != "" {
		text += " (" + r.detail + ")"
	}
	return text
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// visitor is a client that asks once.
type visitor struct {
	record
	address string
	query   string
	random  *rand.Rand
	stay    func(*talk) error // what it does in its session
	leave   time.Duration     // how long it waits for an answer before it leaves; 0 = as long as need be
}

// visit asks, and uses the session it gets until it wants no more.
func (v *visitor) visit() record {
	r := &v.record
	r.asked = time.Now()
	raw, err := net.DialTimeout("tcp4", v.address, silence)
	if err != nil {
		r.heard, r.outcome, r.detail = time.Now(), unheard, err.Error()
		if isTimeout(err) {
			r.outcome = noAnswer
		}
		return *r
	}
	defer func() { _ = raw.Close() }()
	in := bufio.NewReaderSize(raw, 1024)
	if resp := v.ask(raw, in); resp != nil && resp.StatusCode == http.StatusSwitchingProtocols {
		r.session = resp.Header.Get("x-pwdist-session-id")
		t := newTalk(raw, in, r)
		r.note(v.stay(t))
		_ = raw.Close()
		t.over()
	}
	return *r
}

// ask sends the request and writes down the answer.
func (v *visitor) ask(raw net.Conn, in *bufio.Reader) *http.Response {
	r := &v.record
	limit := silence
	if v.leave > 0 {
		limit = v.leave
	}
	_ = raw.SetDeadline(time.Now().Add(limit))
	text := ws.RequestText(v.address, "/?name="+r.name+v.query,
		"User-Agent: Playwright/"+standin.Version+" (chaos)", "x-playwright-browser: "+standInBrowser)
	_, err := io.WriteString(raw, text)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(in, nil)
	}
	r.heard = time.Now()
	switch {
	case err != nil && isTimeout(err) && v.leave > 0:
		r.outcome = left
		if v.random.IntN(2) == 0 {
			_ = raw.(*net.TCPConn).SetLinger(0)
		}
	case err != nil && isTimeout(err):
		r.outcome = noAnswer
	case err != nil:
		r.outcome, r.detail = unheard, err.Error()
	default:
		r.answer, r.header = resp.StatusCode, resp.Header
		if resp.StatusCode == http.StatusSwitchingProtocols {
			r.outcome, r.ending = granted, begun
			_ = raw.SetDeadline(time.Time{})
			break
		}
		r.outcome = refused
		_ = raw.SetDeadline(time.Now().Add(silence))
		body, err := io.ReadAll(resp.Body)
		r.body = strings.TrimSuffix(string(body), "\n")
		if err != nil {
			r.detail = "the text of the refusal: " + err.Error()
		}
		rest, err := io.ReadAll(in)
		r.after = len(rest)
		if isTimeout(err) {
			r.detail = "the connection stays open after the refusal"
		}
		return nil
	}
	if err != nil {
		return nil
	}
	return resp
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// note writes down how the session ended.
func (r *record) note(err error) {
	r.ended = time.Now()
	var e *endError
	switch {
	case err == nil:
		if r.ending == begun {
			r.ending = dropped
		}
	case errors.As(err, &e):
		r.ending, r.detail = e.ending, e.detail
	default:
		r.ending, r.detail = broken, err.Error()
	}
}

type endError struct {
	ending ending
	detail string
}

func (e *endError) Error() string { return string(e.ending) + ": " + e.detail }

// talk is a session from the client's side. Its reader answers pings at all
// times, as a real client does.
type talk struct {
	r    *record
	conn *ws.Conn

	writing sync.Mutex
	frames  chan frame
	done    context.Context
	end     context.CancelFunc
	reader  sync.WaitGroup
	pushed  int // bytes that the server swallowed
}

type frame struct {
	op      byte
	payload []byte
	err     error
}

func newTalk(raw net.Conn, in *bufio.Reader, r *record) *talk {
	t := &talk{r: r, conn: ws.Client(raw, in), frames: make(chan frame, 16)}
	t.done, t.end = context.WithCancel(context.Background())
	t.reader.Go(t.read)
	return t
}

// over ends the reader; the connection is closed.
func (t *talk) over() {
	t.end()
	t.reader.Wait()
}

func (t *talk) read() {
	for {
		h, err := t.conn.Next()
		f := frame{op: h.Op, err: err}
		if err == nil {
			f.payload = make([]byte, h.Size)
			f.err = t.conn.Take(h, f.payload)
		}
		if f.err == nil && f.op == ws.Ping {
			_ = t.write(ws.AppendMasked(nil, ws.Pong, f.payload)) // if it fails, so does the next read
			continue
		}
		if f.err == nil && f.op == ws.Pong {
			continue // nobody asked for it, which the protocol allows
		}
		select {
		case t.frames <- f:
		case <-t.done.Done():
			return
		}
		if f.err != nil {
			return
		}
	}
}

func (t *talk) write(b []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	_ = t.conn.SetWriteDeadline(time.Now().Add(silence))
	_, err := t.conn.Write(b)
	if isTimeout(err) {
		return &endError{hung, "cannot send"}
	}
	return err
}

// expect takes the next message, which must be just this one. Asked is when
// the request for it was sent.
func (t *talk) expect(op byte, want []byte, asked time.Time) error {
	got, err := t.next()
	if err != nil {
		return err
	}
	if got.op != op || !bytes.Equal(got.payload, want) {
		return &endError{garbled, fmt.Sprintf("%d bytes of opcode %d came instead of %d of opcode %d", len(got.payload), got.op, len(want), op)}
	}
	t.r.last = asked
	return nil
}

func (t *talk) next() (frame, error) {
	timer := time.NewTimer(silence)
	defer timer.Stop()
	select {
	case f := <-t.frames:
		return f, f.end()
	case <-timer.C:
		return frame{}, &endError{hung, "no answer in the session"}
	}
}

// end tells whether a frame is the session's end.
func (f frame) end() error {
	if f.err != nil {
		return f.err
	}
	if f.op != ws.Close {
		return nil
	}
	if len(f.payload) < 2 {
		return &endError{closed, "without a code"}
	}
	code := int(f.payload[0])<<8 | int(f.payload[1])
	return &endError{closed, strconv.Itoa(code) + " " + string(f.payload[2:])}
}

// who asks the server for its name.
func (t *talk) who() error {
	if err := t.say("who"); err != nil {
		return err
	}
	f, err := t.next()
	if err != nil {
		return err
	}
	t.r.first = time.Now()
	t.r.last = t.r.first
	home, server, ok := strings.Cut(string(f.payload), " ")
	if !ok || f.op != ws.Text {
		return &endError{garbled, fmt.Sprintf("the server's name is %q", f.payload)}
	}
	t.r.home, t.r.server = home, server
	return nil
}

func (t *talk) say(text string) error {
	t.r.sent++
	return t.write(ws.AppendMasked(nil, ws.Text, []byte(text)))
}

// echoes sends messages in one piece, perhaps with a goodbye behind them, and
// takes them back.
func (t *talk) echoes(r *rand.Rand, bye bool) error {
	var all []byte
	var messages [][]byte
	for range 1 + r.IntN(5) {
		limit := 4 << 10
		if r.IntN(20) == 0 {
			limit = standin.EchoLimit
		}
		m := make([]byte, 1+r.IntN(limit))
		for i := range m {
			m[i] = byte(r.Uint32())
		}
		messages = append(messages, m)
		all = ws.AppendMasked(all, ws.Binary, m)
	}
	t.r.sent += int64(len(messages))
	if bye {
		all = ws.AppendMasked(all, ws.Close, normal)
	}
	asked := time.Now()
	// Echoes come while the rest is still being sent.
	failed := make(chan error, 1)
	go func() { failed <- t.write(all) }()
	var err error
	for _, m := range messages {
		if err = t.expect(ws.Binary, m, asked); err != nil {
			break
		}
	}
	if err == nil && bye {
		var f frame
		f, err = t.next()
		var e *endError
		switch {
		case errors.As(err, &e) && e.ending == closed && bytes.Equal(f.payload, normal):
			t.r.ending, err = goodbye, nil
		case err == nil:
			err = &endError{garbled, fmt.Sprintf("opcode %d instead of the end", f.op)}
		}
	}
	if err != nil {
		_ = t.conn.Close() // the writer, if it still writes, ends with it
	}
	if sending := <-failed; err == nil && !bye {
		err = sending
	}
	return err
}

var normal = []byte{0x03, 0xE8}

// pull has the server send much.
func (t *talk) pull(r *rand.Rand) error {
	n, size := 1+r.IntN(8), 1+r.IntN(64<<10)
	asked := time.Now()
	if err := t.say(fmt.Sprintf("send %d %d", n, size)); err != nil {
		return err
	}
	for range n {
		if err := t.expect(ws.Binary, make([]byte, size), asked); err != nil {
			return err
		}
	}
	return nil
}

// push has the server swallow much and tell how much that was.
func (t *talk) push(r *rand.Rand) error {
	size := standin.EchoLimit + 1 + r.IntN(256<<10)
	t.pushed += size
	t.r.sent++
	asked := time.Now()
	if err := t.write(ws.AppendMasked(nil, ws.Binary, make([]byte, size))); err != nil {
		return err
	}
	if err := t.say("count"); err != nil {
		return err
	}
	return t.expect(ws.Text, []byte(strconv.Itoa(t.pushed)), asked)
}

// pause does nothing for a while, unless the session ends.
func (t *talk) pause(d time.Duration, until <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-until:
	case f := <-t.frames:
		if err := f.end(); err != nil {
			return err
		}
		return &endError{garbled, fmt.Sprintf("%d bytes of opcode %d came unasked", len(f.payload), f.op)}
	}
	return nil
}

// chat is an ordinary session: some messages, pauses, an end of one kind or
// another. It ends soon after until is closed.
func chat(r *rand.Rand, until <-chan struct{}) func(*talk) error {
	return func(t *talk) error {
		if err := t.who(); err != nil {
			return err
		}
		long := r.IntN(8) == 0
		for range 1 + r.IntN(8) {
			rest := time.Duration(r.ExpFloat64() * float64(60*time.Millisecond))
			if long {
				rest *= 20
			}
			steps := []func() error{
				func() error { return t.echoes(r, false) },
				func() error { return t.echoes(r, false) },
				func() error { return t.pause(rest, until) },
				func() error { return t.pause(rest, until) },
				func() error { return t.pull(r) },
				func() error { return t.push(r) },
			}
			if err := steps[r.IntN(len(steps))](); err != nil {
				return err
			}
		}
		switch r.IntN(10) {
		case 0:
			_ = t.conn.Conn.(*net.TCPConn).SetLinger(0)
			return nil
		case 1:
			return nil
		}
		return t.echoes(r, true)
	}
}
