package gate

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// helloFrame is a hello as the gate says it.
var helloFrame = string(newAdvance(sayHello, "", javascript).frame())

// enters has a session begin on the connection that the gate has opened for it, or
// on a new one where that is nil.
func (r *rig) enters(session string, spare *wire) (client, server *wire) {
	r.t.Helper()
	r.assign(session)
	client = r.dial(brought(session, "p"))
	if server = spare; server == nil {
		server, _ = r.accept()
		server.send(yes)
	} else {
		server.greet(yes)
	}
	client.take(yes)
	return client, server
}

// leaves has the client of a session close.
func (r *rig) leaves(client, server *wire) {
	r.t.Helper()
	_ = client.Close()
	require.Empty(r.t, server.takeEnd())
	_ = server.Close()
	r.waitEnd()
}

// sayHello plays a session from its start to its end, in which the client says
// hello and hears a welcome, on the connection that the gate has opened for it.
func (r *rig) sayHello(session string, spare *wire) {
	r.t.Helper()
	client, server := r.enters(session, spare)
	client.send(initialize("1", javascript))
	server.take(initialize("1", javascript))
	server.send(welcomeTo("1"))
	client.take(welcomeTo("1"))
	r.leaves(client, server)
}

// askedRig is a gate that has said what the next session is expected to say, on
// the connection that is returned.
func askedRig(t *testing.T) (*rig, *wire) {
	t.Helper()
	r := newRig(t, guarded)
	r.sayHello("a", nil)
	r.sayHello("b", r.spareOne())
	server := r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	return r, server
}

// introducedRig is a gate whose next session finds its hello answered, on the
// connection that is returned.
func introducedRig(t *testing.T) (*rig, *wire) {
	t.Helper()
	r, server := askedRig(t)
	server.send(welcomeTo("1"))
	r.greets()
	return r, server
}

// begin has a client of the known kind begin a session.
func (r *rig) begin(session, says string) *wire {
	r.t.Helper()
	r.assign(session)
	client := r.dial(brought(session, "p") + says)
	client.take(yesTo("dGhlIHNhbXBsZSBub25jZQ=="))
	return client
}

func (r *rig) hellos(outcome string) int {
	return int(testutil.ToFloat64(r.o.Metrics.hellos.WithLabelValues(outcome)))
}

// What goes both ways once a session has begun.
var (
	goesUp   = textFrame(`{"id":2,"guid":"page@1","method":"close","params":{},"metadata":{}}`, true)
	goesDown = textFrame(`{"id":2}`, false)
)

func goesOn(client, server *wire) {
	client.send(goesUp)
	server.take(goesUp)
	server.send(goesDown)
	client.take(goesDown)
}

// another takes the spare connection with a session of its own.
func (r *rig) another(server *wire) {
	r.begin("c", initialize("1", javascript)).take(welcomeTo("1"))
	r.t.Cleanup(func() { _ = server.Close() })
}

func TestTheThirdOfAKindFindsItsHelloAnswered(t *testing.T) {
	for name, early := range map[string]bool{"with the handshake": true, "after it": false} {
		t.Run(name, func(t *testing.T) {
			r, server := introducedRig(t)
			said := initialize(`"abcd@7"`, javascript)
			var client *wire
			if early {
				client = r.begin("c", said+goesUp)
			} else {
				client = r.begin("c", said[:5])
				client.send(said[5:] + goesUp)
			}
			client.take(welcomeTo(`"abcd@7"`))
			server.take(goesUp)
			server.send(goesDown)
			client.take(goesDown)
			require.Equal(t, 1, r.hellos("answered"))
			_ = client.Close()
			require.Empty(t, server.takeEnd())
			_ = server.Close()
			end := r.waitEnd()
			require.Equal(t, clientClosed, end.Reason)
			require.Equal(t, state.Counts{
				BytesUp: uint64(len(said + goesUp)), MessagesUp: 2, BytesDown: uint64(len(welcomeTo(`"abcd@7"`) + goesDown)), MessagesDown: 4,
			}, end.Counts, "what the client has sent and got")
			// Such a session tells what the next one will say, too.
			next := r.ready()
			next.expect(yesTo)
			next.take(helloFrame)
		})
	}
}

// TestNothingOfAClientIsSaidInAdvance but its parameters, which its kind has in common.
func TestNothingOfAClientIsSaidInAdvance(t *testing.T) { // I9
	require.JSONEq(t, `{"id":1,"guid":"","method":"initialize","params":`+javascript+`,"metadata":{"internal":true}}`, helloFrame[8:])
}

// Without a spare connection the server is asked while the client prepares its words.
func TestAHelloIsAnsweredOnANewConnection(t *testing.T) {
	for name, late := range map[string]bool{"in time": false, "late": true} {
		t.Run(name, func(t *testing.T) {
			r, spare := introducedRig(t)
			r.another(spare)
			r.assign("d")
			client := r.dial(brought("d", "p"))
			server, _ := r.accept()
			server.send(yes)
			client.take(yes)
			server.take(helloFrame)
			if late {
				client.send(initialize("5", javascript))
			}
			server.send(welcomeTo("1") + goesDown)
			if !late {
				client.send(initialize("5", javascript))
			}
			client.take(welcomeTo("5") + goesDown)
			goesOn(client, server)
		})
	}
}

func TestAClientThatBeginsInAnotherWayIsHeardByTheServer(t *testing.T) { // I8
	call := textFrame(`{"id":1,"guid":"page@1","method":"close","params":{},"metadata":{}}`, true)
	for name, says := range map[string]string{
		"other parameters": initialize("1", python),
		"another call":     call + call,
		"a ping":           "\x89\x80abcd" + initialize("1", javascript),
		"nothing at once":  "",
		"half of it":       initialize("1", javascript)[:20],
	} {
		t.Run(name, func(t *testing.T) {
			r, introduced := introducedRig(t)
			r.helloTime = 50 * time.Millisecond
			client := r.begin("c", says)
			server, head := r.accept()
			require.Contains(t, head, "Playwright/1.65.1")
			server.send(yes)
			if name == "half of it" {
				client.send(initialize("1", javascript)[20:])
				says = initialize("1", javascript)
			}
			server.take(says)
			goesOn(client, server)
			require.Empty(t, introduced.takeEnd(), "it heard nothing of the client")
			require.Equal(t, 1, r.hellos("unsaid"))
			_ = client.Close()
			require.Empty(t, server.takeEnd())
			_ = server.Close()
			end := r.waitEnd()
			require.Equal(t, clientClosed, end.Reason)
			require.Equal(t, uint64(len(says+goesUp)), end.Counts.BytesUp)
		})
	}
}

func TestAnotherLanguageIsNotAskedForInAdvance(t *testing.T) {
	r := newRig(t, guarded)
	r.sayHello("a", nil)
	r.assign("b")
	server := r.spareOne()
	client := r.dial(brought("b", "p"))
	server.greet(yes)
	client.take(yes)
	client.send(initialize("1", python))
	server.take(initialize("1", python))
	_ = client.Close()
	require.Empty(t, server.takeEnd())
	_ = server.Close()
	r.waitEnd()
	server = r.ready()
	server.expect(yesTo)
	r.greets()
	r.begin("c", initialize("1", python))
	server.take(initialize("1", python))
}

func TestAnotherKindOfClientIsNotIntroduced(t *testing.T) {
	r, introduced := introducedRig(t)
	r.assign("c")
	client := r.dial(strings.Replace(brought("c", "p"), "Playwright/1.65.1", "Playwright/1.65.2", 1))
	require.Empty(t, introduced.takeEnd())
	server, _ := r.accept()
	server.send(yes)
	client.take(yes)
	goesOn(client, server)
}

// What the guard ends a session for is nothing to ask the server in advance.
func TestAHelloThatIsRefusedIsNotRepeated(t *testing.T) {
	r := newRig(t, guarded)
	var server *wire
	for _, session := range []string{"a", "b"} {
		var client *wire
		client, server = r.enters(session, server)
		client.send(textFrame(`{"id":1,"guid":"","method":"initialize","params":{},"params":{"a":1},"metadata":{}}`, true))
		client.takeAll()
		server.takeAll()
		require.Equal(t, policy, r.waitEnd().Reason)
		if session == "a" {
			server = r.spareOne()
		}
	}
	server = r.ready()
	server.expect(yesTo)
	r.greets()
	r.begin("c", initialize("1", javascript))
	server.take(initialize("1", javascript))
}

func TestWithoutAGuardNothingIsSaidInAdvance(t *testing.T) {
	r := newRig(t, func(*Options) {})
	r.sayHello("a", nil)
	r.sayHello("b", r.spareOne())
	server := r.ready()
	server.expect(yesTo)
	r.greets()
	client := r.begin("c", initialize("1", javascript))
	server.take(initialize("1", javascript))
	server.send(welcomeTo("1"))
	client.take(welcomeTo("1"))
}

// A server that answers with an error, or with what is no answer, is not asked in advance again.
func TestAWelcomeThatFailsIsTheClientsToHear(t *testing.T) {
	r, failed := askedRig(t)
	failed.send(textFrame(`{"id":1,"error":{"error":{"message":"no"}}}`, false))
	failed.takeAll()
	r.sayHello("c", nil)
	server := r.ready()
	server.expect(yesTo)
	r.greets()
	client := r.begin("d", initialize("5", javascript))
	server.take(initialize("5", javascript))
	server.send(welcomeTo("5"))
	client.take(welcomeTo("5"))
}

// What the server has not answered yet it is not asked while a client prepares its words.
func TestAHelloIsTriedFirst(t *testing.T) {
	r, trial := askedRig(t)
	r.assign("c")
	client := r.dial(brought("c", "p"))
	server, _ := r.accept()
	server.send(yes)
	client.take(yes)
	goesOn(client, server)
	trial.send(welcomeTo("1"))
	r.greets()
}

// The server goes by who said hello last in what concerns the browser as a whole.
func TestAnotherKindOfAStrangersIsTheLastToSayHello(t *testing.T) {
	r, introduced := introducedRig(t)
	r.assign("c")
	client := r.dial(strings.Replace(brought("c", "q"), "Playwright/1.65.1", "Playwright/1.65.2", 1))
	require.Empty(t, introduced.takeEnd())
	server, _ := r.accept()
	server.send(yes)
	client.take(yes)
	goesOn(client, server)
}

func TestASessionEndsWhileItsFirstWordIsAwaited(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		r, server := introducedRig(t)
		client := r.begin("c", initialize("1", javascript)[:20])
		_ = client.Close()
		require.Empty(t, server.takeEnd(), "a part of a call is nothing")
		_ = server.Close()
		require.Equal(t, clientClosed, r.waitEnd().Reason)
	})
	t.Run("by the worker", func(t *testing.T) {
		r, server := introducedRig(t)
		client := r.begin("c", "")
		r.end("c", Ending{Reason: "worker_retired", Text: "over"})
		client.take("\x88\x06\x03\xe9over")
		_ = client.Close()
		require.Empty(t, server.takeEnd())
		require.Equal(t, "worker_retired", r.waitEnd().Reason)
	})
	t.Run("by the worker, which waits for the server", func(t *testing.T) {
		client, server, r := unanswered(t)
		r.end("d", Ending{Reason: "worker_retired", Text: "over"})
		client.take("\x88\x06\x03\xe9over")
		_ = client.Close()
		server.takeAll()
		require.Equal(t, "worker_retired", r.waitEnd().Reason)
		require.Zero(t, r.hellos("unsaid"))
	})
	t.Run("by the client, which waits for the server", func(t *testing.T) {
		client, server, r := unanswered(t)
		_ = client.Close()
		server.takeAll()
		require.Equal(t, clientClosed, r.waitEnd().Reason)
	})
	t.Run("by the worker, which opens another connection", func(t *testing.T) {
		r, server := introducedRig(t)
		client := r.begin("c", initialize("1", python))
		anew, _ := r.accept()
		r.end("c", Ending{Reason: "worker_retired", Text: "over"})
		client.take("\x88\x06\x03\xe9over")
		_ = client.Close()
		server.takeAll()
		anew.send(yes)
		anew.takeAll()
		require.Equal(t, "worker_retired", r.waitEnd().Reason)
	})
	t.Run("by the worker, which stops", func(t *testing.T) {
		client, server, r := unanswered(t)
		require.NoError(t, r.Stop(t.Context()))
		client.takeAll()
		server.takeAll()
		r.waitEnd()
	})
	t.Run("by the server", func(t *testing.T) {
		r, server := introducedRig(t)
		r.helloTime = 50 * time.Millisecond
		client := r.begin("c", "")
		close(r.over)
		require.NoError(t, r.server.Close())
		_ = server.Close()
		require.Empty(t, client.takeEnd())
		require.Equal(t, browserCrashed, r.waitEnd().Reason)
	})
	t.Run("by the server in its welcome", func(t *testing.T) {
		client, server, r := unanswered(t)
		server.send(welcomeTo("1")[:50])
		_ = server.Close()
		client.takeAll()
		require.Equal(t, workerClosed, r.waitEnd().Reason)
	})
	t.Run("by the server with nonsense", func(t *testing.T) {
		client, server, r := unanswered(t)
		server.send("\x81\x05hello")
		client.takeAll()
		require.Equal(t, workerClosed, r.waitEnd().Reason)
		server.takeAll()
	})
}

// unanswered is a session whose client has said hello and waits for the server, which the gate has asked.
func unanswered(t *testing.T) (client, server *wire, r *rig) {
	t.Helper()
	r, spare := introducedRig(t)
	r.another(spare)
	r.assign("d")
	client = r.dial(brought("d", "p"))
	server, _ = r.accept()
	server.send(yes)
	client.take(yes)
	server.take(helloFrame)
	client.send(initialize("5", javascript))
	return client, server, r
}

// takeAll reads to the end, however that comes.
func (w *wire) takeAll() {
	_, _ = io.Copy(io.Discard, w.in)
	_ = w.Close()
}

// A server that says more than the answer has something to say that is not for the next session.
func TestAnIntroducedServerThatSaysMoreIsNotUsed(t *testing.T) {
	r, server := introducedRig(t)
	server.send(textFrame(created, false))
	r.assign("c")
	client := r.dial(brought("c", "p"))
	anew, _ := r.accept()
	_, _ = io.Copy(io.Discard, server.in) // until it is closed
	anew.send(yes)
	client.take(yes)
	anew.take(helloFrame)
	anew.send(welcomeTo("1"))
	client.send(initialize("5", javascript))
	client.take(welcomeTo("5"))
}
