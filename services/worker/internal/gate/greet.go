package gate

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the WebSocket handshake is made of it
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
)

// greeted is a connection on which the server has said yes to a handshake with a
// key of the gate's own. It is good for a client whose handshake is the same but
// for the key, since of the answer, too, only what stands for the key differs.
type greeted struct {
	*served
	common common
	accept string // what stands for the gate's key in the answer
	// Of what is prepared, nil where nothing is.
	expiry  *time.Timer
	watched chan struct{} // closed when nobody watches it any more
}

var errGreeting = errors.New("an answer to the WebSocket handshake that does not fit its key")

// common is a handshake without its key: what sessions of the same kind of client
// have in common. It is empty where the key is none that every server takes.
type common string

const keyHeader = "sec-websocket-key"

// commonOf is of a handshake as the server gets it.
func commonOf(handshake []byte, keys []string) common {
	if len(keys) != 1 || !isKey(keys[0]) {
		return ""
	}
	start, headers, _ := bytes.Cut(handshake, crlf)
	var b strings.Builder
	b.Write(start)
	b.Write(crlf)
	_ = eachHeader(headers, func(name, _ string, line []byte) { // parsed before
		if name == keyHeader {
			line = noKey
		}
		b.Write(line)
	})
	b.Write(crlf)
	return common(b.String())
}

var noKey = []byte(keyHeader + ": \r\n")

func (c common) with(key string) []byte {
	return bytes.Replace([]byte(c), append([]byte("\r\n"), noKey...), []byte("\r\n"+keyHeader+": "+key+"\r\n"), 1)
}

// greet has the server say yes. Without that the connection is closed.
func greet(conn net.Conn, e browser.Endpoint, c common) (*greeted, error) {
	key := newKey()
	s, err := shake(conn, e, time.Now(), c.with(key))
	if err != nil {
		return nil, err
	}
	g := &greeted{served: s, common: c, accept: acceptOf(key)}
	if !g.fits() {
		_ = s.Close()
		return nil, errGreeting
	}
	return g, nil
}

// fits tells whether the answer has exactly what stands for the key, once.
func (g *greeted) fits() bool {
	_, headers, _ := bytes.Cut(g.yes, crlf)
	values := 0
	err := eachHeader(headers, func(name, value string, _ []byte) {
		if name == "sec-websocket-accept" && value == g.accept {
			values++
		}
	})
	return err == nil && values == 1 && bytes.Count(g.yes, []byte(g.accept)) == 1
}

// begins tells whether what was said on the connection is how a session with that
// opening begins, or the other way round.
func (g *greeted) begins(o opening) bool {
	var said opening
	if g.hello != nil {
		said[sayHello] = g.hello.params
	}
	for _, a := range g.ready {
		said[a.step] = a.params
	}
	n := min(said.steps(), o.steps())
	return (n > 0 || o.steps() == 0) && said.before(n) == o.before(n)
}

// introduce has the server answer a hello.
func (g *greeted) introduce(h string) error {
	if err := g.say(h); err != nil {
		return err
	}
	return g.hear()
}

// goOn has the server answer the calls that follow the hello, one after the other.
// An error is a *stuck.
func (g *greeted) goOn(o opening, rules *guard.Rules) error {
	// A context whose call is given up stays in the browser, so that takes what it takes.
	_ = g.SetDeadline(time.Time{})
	last := g.hello
	for step := openContext; step < o.steps(); step++ {
		a := newAdvance(step, last.only(steps[step].of), o[step])
		if err := g.ask(a, rules); err != nil {
			return &stuck{error: err, at: o.before(step + 1)}
		}
		g.ready = append(g.ready, a)
		last = a
	}
	g.veil = newVeil(g.ready)
	more := rest(g.in)
	_, _ = g.in.Discard(len(more))
	if len(g.veil.pass(more)) > 0 {
		return &stuck{error: errAnswer, at: o}
	}
	return nil
}

func (g *greeted) ask(a *advance, rules *guard.Rules) error {
	if a.guid == "" || !a.allowed(rules) {
		return errAnswer
	}
	if _, err := g.Write(a.frame()); err != nil {
		return err
	}
	if err := a.hear(g.in); err != nil {
		return err
	}
	if a.main = a.only(steps[a.step].makes); a.main == "" {
		return errAnswer
	}
	return nil
}

// stuck is an opening that the server did not go through with.
type stuck struct {
	error
	at opening // up to the step that failed
}

// Unwrap gives the cause.
func (s *stuck) Unwrap() error { return s.error }

// suits tells whether a client with that handshake may have the connection now.
// There is nothing to read on one that is good: not its end, and nothing that the
// server would have to say to nobody.
func (g *greeted) suits(e browser.Endpoint, c common) bool {
	return g.endpoint == e && c != "" && g.common == c && g.in.Buffered() == 0 && g.quiet()
}

// quiet tells whether the connection stands, and nothing has come on it but what
// a new page has to say.
func (g *greeted) quiet() bool {
	if g.veil != nil {
		var b [maxWord]byte
		n, err := g.receiveNow(b[:])
		if err == nil && len(g.veil.pass(b[:n])) > 0 || !g.unspoilt() {
			return false
		}
	}
	return g.silent()
}

// unspoilt tells whether what is prepared is as new.
func (g *greeted) unspoilt() bool {
	for _, a := range g.ready {
		if a.spoilt {
			return false
		}
	}
	return g.veil.between()
}

// leave ends the watch over what is prepared.
func (g *greeted) leave() {
	if g.watched == nil {
		return
	}
	g.expiry.Stop()
	_ = g.SetReadDeadline(past)
	<-g.watched
}

// awaitReadable waits until there is something to read.
func (s *socket) awaitReadable() error {
	return s.raw.Read(func(fd uintptr) bool { return !nothing(fd) })
}

// maxWord is how much may have come.
const maxWord = 1 << 10

// receiveNow reads what has come on a connection on which nobody waits for that.
func (s *socket) receiveNow(b []byte) (n int, err error) {
	if failed := s.raw.Control(func(fd uintptr) { n, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT) }); failed != nil {
		err = failed
	}
	return n, err
}

// answer makes the server's yes one to the client's key.
func (g *greeted) answer(key string) *served {
	g.yes = bytes.Replace(g.yes, []byte(g.accept), []byte(acceptOf(key)), 1)
	return g.served
}

// silent tells whether the connection stands and nothing has come on it.
func (s *socket) silent() (silent bool) {
	err := s.raw.Control(func(fd uintptr) { silent = nothing(fd) })
	return err == nil && silent
}

// nothing tells that there is nothing to read, neither bytes nor an end.
func nothing(fd uintptr) bool {
	_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return errors.Is(err, syscall.EAGAIN)
}

// keySize is the length of what a key encodes (RFC 6455, section 4.1).
const keySize = 16

func newKey() string {
	var b [keySize]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// isKey tells a key that no server refuses.
func isKey(key string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(key)
	return err == nil && len(b) == keySize && !strings.ContainsAny(key, "\r\n")
}

// acceptOf is what stands for a key in the answer (RFC 6455, section 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as the standard has it
	return base64.StdEncoding.EncodeToString(sum[:])
}
