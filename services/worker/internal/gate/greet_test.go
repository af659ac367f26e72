package gate

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// keyOf is the key of a handshake.
func keyOf(t *testing.T, head string) string {
	t.Helper()
	i := strings.Index(strings.ToLower(head), keyHeader+": ")
	require.Positive(t, i, head)
	key, _, _ := strings.Cut(head[i+len(keyHeader)+2:], "\r\n")
	return key
}

// yesTo is a server's answer to a key.
func yesTo(key string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + acceptOf(key) + "\r\n\r\n"
}

// expect has the server answer the handshake that the gate makes for a session
// to come.
func (w *wire) expect(answer func(key string) string) (head string) {
	w.t.Helper()
	b, err := readHead(w.in)
	require.NoError(w.t, err)
	t, _ := w.t.(*testing.T)
	w.send(answer(keyOf(t, string(b))))
	return string(b)
}

// greets waits until the gate has a connection that the server has said yes on.
func (r *rig) greets() {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		r.spare.mu.Lock()
		defer r.spare.mu.Unlock()
		return r.spare.greeted != nil
	}, patience, time.Millisecond)
}

// bringAnother has a proxy bring a second session like that of bring, which took
// the connection, and returns the one for the third.
func (r *rig) bringAnother(session, proxy string, server *wire) *wire {
	r.t.Helper()
	r.assign(session)
	client := r.dial(brought(session, proxy))
	server.greet(yes)
	client.take(yes)
	_ = client.Close()
	require.Empty(r.t, server.takeEnd())
	_ = server.Close()
	r.waitEnd()
	return r.ready()
}

func greetedRig(t *testing.T) (*rig, *wire) {
	t.Helper()
	r := newRig(t, func(*Options) {})
	server := r.bringAnother("b", "p", r.bring("a", "p"))
	server.expect(yesTo)
	r.greets()
	return r, server
}

// TestAcceptOf has the example of RFC 6455, section 1.3.
func TestAcceptOf(t *testing.T) {
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", acceptOf("dGhlIHNhbXBsZSBub25jZQ=="))
	require.True(t, isKey(newKey()))
	for _, no := range []string{"", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==\n", "dGhlIHNhbXBsZSBub25jZR=="} {
		require.False(t, isKey(no), "%q", no)
	}
}

// TestOneKeyIsCommon: a handshake with another number of them is like no other.
func TestOneKeyIsCommon(t *testing.T) {
	const line = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for n, want := range map[int]common{
		0: "", 2: "",
		1: "GET / HTTP/1.1\r\nA: b\r\nsec-websocket-key: \r\nC: sec-websocket-key: \r\n\r\n",
	} {
		q, err := parseRequest([]byte(strings.Replace(handshake("s", 1), line, strings.Repeat(line, n), 1)))
		require.Equal(t, n > 0, err == nil)
		got := commonOf([]byte("GET / HTTP/1.1\r\nA: b\r\n"+strings.Repeat(line, n)+"C: sec-websocket-key: \r\n\r\n"), q.keys)
		require.Equal(t, want, got)
		if want != "" {
			require.Equal(t, strings.Replace(string(want), "key: ", "key: k", 1), string(got.with("k")))
		}
	}
}

// TestAGreetingThatComesTooLateIsClosed: the gate has stopped meanwhile.
func TestAGreetingThatComesTooLateIsClosed(t *testing.T) {
	r := newRig(t, func(*Options) {})
	q, err := parseRequest([]byte(handshake("s", 1)))
	require.NoError(t, err)
	like := commonOf(q.forward("/secret", true), q.keys)
	s := spare{last: kind{handshake: like}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		e, _ := r.Current()
		s.refill(t.Context(), e, kind{handshake: like})
	}()
	server := r.ready()
	s.close()
	server.expect(yesTo)
	<-done
	require.Empty(t, server.takeEnd())
}

func TestTheThirdOfAKindFindsTheHandshakeDone(t *testing.T) {
	r, server := greetedRig(t)
	r.assign("c")
	client := r.dial(brought("c", "p") + "up")
	client.take(yesTo("dGhlIHNhbXBsZSBub25jZQ=="))
	server.take("up")
	server.send("down")
	client.take("down")
	require.Len(t, r.starts(), 3)
	require.Equal(t, 1, r.checks())
}

// TestAGreetingIsTheSameHandshake: what the server is told in advance is what it
// would be told by the session, but for the key.
func TestAGreetingIsTheSameHandshake(t *testing.T) {
	r := newRig(t, func(*Options) {})
	server := r.bring("a", "p")
	r.assign("b")
	client := r.dial(brought("b", "p"))
	head, err := readHead(server.in)
	require.NoError(t, err)
	server.send(yes)
	client.take(yes)
	_ = client.Close()
	require.Empty(t, server.takeEnd())
	_ = server.Close()
	r.waitEnd()
	greeting := r.ready().expect(yesTo)
	r.greets()
	key := keyOf(t, string(head))
	require.NotEqual(t, key, keyOf(t, greeting))
	require.True(t, isKey(keyOf(t, greeting)))
	require.Equal(t, strings.Replace(string(head), "Sec-WebSocket-Key", "sec-websocket-key", 1), strings.Replace(greeting, keyOf(t, greeting), key, 1))
	require.NotContains(t, greeting, "x-pwdist")
}

func TestAnotherKindOfClientGetsItsOwnHandshake(t *testing.T) {
	r, greeted := greetedRig(t)
	r.assign("c")
	client := r.dial(strings.Replace(brought("c", "p"), "Playwright/1.65.1", "Playwright/1.65.2", 1))
	require.Empty(t, greeted.takeEnd())
	server, head := r.accept()
	require.Contains(t, head, "Playwright/1.65.2")
	server.send(yes)
	client.take(yes)
}

// TestAKeyThatAServerRefuses is left to the server.
func TestAKeyThatAServerRefuses(t *testing.T) {
	const sample = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for name, keys := range map[string]string{"no key": "Sec-WebSocket-Key: short\r\n", "two keys": sample + sample} {
		t.Run(name, func(t *testing.T) {
			const no = "HTTP/1.1 400 Bad Request\r\n\r\n"
			r, greeted := greetedRig(t)
			r.assign("c")
			client := r.dial(strings.Replace(brought("c", "p"), sample, keys, 1))
			require.Empty(t, greeted.takeEnd())
			server, head := r.accept()
			require.Contains(t, head, keys)
			server.send(no)
			_ = server.Close()
			require.Equal(t, no, client.takeEnd())
		})
	}
}

func TestNothingReachesAGreetedServerBeforeTheStart(t *testing.T) { // I10
	r, server := greetedRig(t)
	r.set(func() { r.answer = state.StartUnknown })
	status, code, _ := r.dial(brought("none", "p") + "to the browser").answer()
	require.Equal(t, 403, status)
	require.Equal(t, "no_assignment", code)
	require.Empty(t, server.takeEnd())
	require.Len(t, r.starts(), 2)
}

func TestAStrangerDoesNotGetTheGreetedServer(t *testing.T) { // I10
	r, server := greetedRig(t)
	status, _, _ := r.dial(brought("none", "q")).answer()
	require.Equal(t, 403, status)
	r.greets()
	require.NoError(t, r.Stop(context.Background()))
	require.Empty(t, server.takeEnd())
}

// TestAGreetedServerThatIsGoneIsReplaced: also one that has something to say,
// which is no longer what the session is to hear first.
func TestAGreetedServerThatIsGoneIsReplaced(t *testing.T) {
	for name, leave := range map[string]func(*rig, *wire){
		"closed":          func(_ *rig, server *wire) { _ = server.Close() },
		"with a word":     func(_ *rig, server *wire) { server.send("\x88\x00") },
		"of another time": func(r *rig, _ *wire) { r.set(func() { r.generation++ }) },
	} {
		t.Run(name, func(t *testing.T) {
			r, greeted := greetedRig(t)
			leave(r, greeted)
			r.assign("c")
			client := r.dial(brought("c", "p"))
			server, _ := r.accept()
			server.send(yes)
			client.take(yes)
			require.Len(t, r.starts(), 3)
		})
	}
}

// TestAGreetingThatFailsCostsNothing: the session after it goes the long way.
func TestAGreetingThatFailsCostsNothing(t *testing.T) {
	for name, answer := range map[string]func(string) string{
		"a no":           func(string) string { return "HTTP/1.1 428 Precondition Required\r\n\r\n" },
		"to another key": func(string) string { return yes },
		"with a second one": func(key string) string {
			return strings.Replace(yesTo(key), "Upgrade: ", "X: "+acceptOf(key)+"\r\nUpgrade: ", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*Options) {})
			server := r.bringAnother("b", "p", r.bring("a", "p"))
			server.expect(answer)
			if name == "a no" {
				_ = server.Close() // as a server does behind it
			} else {
				require.Empty(t, server.takeEnd())
			}
			r.assign("c")
			client := r.dial(brought("c", "p"))
			server, _ = r.accept()
			server.send(yes)
			client.take(yes)
		})
	}
}

// TestAGreetingDoesNotHoldUpTheEnd: a server that stands still.
func TestAGreetingDoesNotHoldUpTheEnd(t *testing.T) {
	r := newRig(t, func(*Options) {})
	server := r.bringAnother("b", "p", r.bring("a", "p"))
	_, err := readHead(server.in)
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, r.Stop(context.Background()))
	require.Less(t, time.Since(began), openTime/2, "it waited for the answer")
}
