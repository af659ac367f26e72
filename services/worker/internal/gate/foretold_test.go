package gate

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

func made(by, kind, guid string) string {
	return textFrame(fmt.Sprintf(`{"guid":%q,"method":"__create__","params":{"type":%q,"initializer":{},"guid":%q}}`, by, kind, guid), false)
}

// What a server answers to the calls of an opening with an id.

func welcomeWithBrowser(id string) string {
	return made("", "BrowserType", "browser-type@1") + made("browser-type@1", "Browser", browserGUID) + textFrame(`{"id":`+id+result, false)
}

func contextAnswer(id string) string {
	return made(browserGUID, "Tracing", "tracing@1") + made(browserGUID, "BrowserContext", contextGUID) +
		textFrame(fmt.Sprintf(`{"guid":%q,"method":"context","params":{"context":{"guid":%q}}}`, browserGUID, contextGUID), false) +
		textFrame(fmt.Sprintf(`{"id":%s,"result":{"context":{"guid":%q}}}`, id, contextGUID), false)
}

func pageAnswer(id string) string {
	return made(contextGUID, "Frame", "frame@1") + made(contextGUID, "Page", pageGUID) +
		textFrame(fmt.Sprintf(`{"id":%s,"result":{"page":{"guid":%q}}}`, id, pageGUID), false)
}

func frameOf(step int, guid, params string) string {
	return string(newAdvance(step, guid, params).frame())
}

// opens plays a session that begins with a context and a page.
func (r *rig) opens(session string, spare *wire) {
	r.t.Helper()
	client, server := r.enters(session, spare)
	client.send(initialize("1", javascript) + newContext("2") + newPage("3"))
	server.take(initialize("1", javascript) + newContext("2") + newPage("3"))
	r.leaves(client, server)
}

func preparing(o *Options) { guarded(o); o.Prepare = PreparePage }

// aboutToPrepare is a gate that has said hello on the connection that is returned,
// and will go on with what the sessions before had in common.
func aboutToPrepare(t *testing.T) (*rig, *wire) {
	t.Helper()
	r := newRig(t, preparing)
	r.opens("a", nil)
	r.opens("b", r.spareOne())
	server := r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	return r, server
}

// preparedRig is a gate with a page ready for the next session.
func preparedRig(t *testing.T) (*rig, *wire) {
	t.Helper()
	r, server := aboutToPrepare(t)
	server.take(frameOf(openContext, browserGUID, options))
	server.send(contextAnswer("2"))
	server.take(frameOf(openPage, contextGUID, "{}"))
	server.send(pageAnswer("3"))
	r.isPrepared()
	return r, server
}

func (r *rig) isPrepared() {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.Prepared() == 1 }, patience, time.Millisecond)
}

func (r *rig) prepared(outcome string) int {
	return int(testutil.ToFloat64(r.o.Metrics.prepared.WithLabelValues(outcome)))
}

// introduced has a client of the known kind say hello.
func (r *rig) introduced(session string) *wire {
	r.t.Helper()
	client := r.begin(session, initialize("1", javascript))
	client.take(welcomeWithBrowser("1"))
	return client
}

func TestAPreparedPageIsTheClients(t *testing.T) {
	idle, seen := said("frame@1", "loadstate"), said("page@other", "loadstate")
	for name, c := range map[string]struct {
		early, between, late bool // when the page has something to say
		ahead                bool // the client does not wait for the answers
		split                bool // what it says comes in parts
	}{"silent": {}, "in parts": {split: true}, "says something early": {early: true}, "then": {between: true}, "late": {late: true}, "a hasty client": {ahead: true}} {
		t.Run(name, func(t *testing.T) {
			r, server := preparedRig(t)
			last := ""
			if c.early {
				server.send(idle)
				last = idle
			}
			client := r.introduced("c")
			if c.between {
				server.send(idle + seen)
				client.take(seen)
				last = idle
			}
			if c.ahead {
				client.send(newContext(`"a@2"`) + newPage(`"a@3"`) + goesUp)
				client.take(contextAnswer(`"a@2"`) + pageAnswer(`"a@3"`))
			} else {
				client.send(newContext(`"a@2"`))
				client.take(contextAnswer(`"a@2"`))
				call := newPage(`"a@3"`)
				if c.split {
					for _, at := range []int{150, 5} { // the later is in what the guard has let through
						r.sendPart(client, call[:at])
						call = call[at:]
					}
				}
				client.send(call)
				client.take(pageAnswer(`"a@3"`) + last)
				if c.late {
					server.send(idle)
					client.take(idle)
					last = idle
				}
				client.send(goesUp)
			}
			server.take(goesUp)
			server.send(goesDown)
			client.take(goesDown)
			require.Equal(t, 1, r.prepared(used))
			_ = client.Close()
			require.Empty(t, server.takeEnd(), "the server heard nothing of the calls")
			_ = server.Close()
			up := initialize("1", javascript) + newContext(`"a@2"`) + newPage(`"a@3"`) + goesUp
			down := welcomeWithBrowser("1") + contextAnswer(`"a@2"`) + pageAnswer(`"a@3"`) + last + goesDown
			messages := uint64(11 + min(1, len(last)))
			if c.between {
				down, messages = down+seen, messages+1
			}
			require.Equal(t, state.Counts{
				BytesUp: uint64(len(up)), MessagesUp: 4, BytesDown: uint64(len(down)), MessagesDown: messages,
			}, r.waitEnd().Counts, "what the client has sent and got")
			require.Equal(t, messages, uint64(testutil.ToFloat64(r.o.Metrics.down.messages)))
			require.Equal(t, len(down), int(testutil.ToFloat64(r.o.Metrics.down.bytes)))
			next := r.ready()
			next.expect(yesTo)
			next.take(helloFrame)
			next.send(welcomeWithBrowser("1"))
			next.take(frameOf(openContext, browserGUID, options))
		})
	}
}

// sendPart sends a part of a message and waits until the gate has read it.
func (r *rig) sendPart(client *wire, part string) {
	r.t.Helper()
	read := func() int { return int(testutil.ToFloat64(r.o.Metrics.up.bytes)) }
	want := read() + len(part)
	client.send(part)
	require.Eventually(r.t, func() bool { return read() == want }, patience, time.Millisecond)
}

func TestNothingOfAClientIsCalledInAdvance(t *testing.T) { // I9
	require.JSONEq(t, `{"id":2,"guid":"browser@0a1b","method":"newContext","params":`+options+`,"metadata":{"internal":true}}`,
		frameOf(openContext, browserGUID, options)[8:])
	require.JSONEq(t, `{"id":3,"guid":"browser-context@2c3d","method":"newPage","params":{},"metadata":{"internal":true}}`, frameOf(openPage, contextGUID, "{}")[6:])
}

func TestAClientThatGoesOnInAnotherWayIsHeardByTheServer(t *testing.T) { // I8
	other := calls("2", browserGUID, "newContext", `{"isMobile":true}`)
	fragmented := "\x01" + newContext("2")[1:] + "\x80\x80abcd"
	script := calls("3", contextGUID, "addInitScript", `{"source":"1"}`)
	for name, c := range map[string]struct{ opens, says string }{
		"other options":        {says: other},
		"another call":         {says: goesUp},
		"in fragments":         {says: fragmented},
		"a context of another": {says: calls("2", "browser@ffff", "newContext", options)},
		"no page yet":          {opens: newContext("2"), says: script},
		"another page":         {opens: newContext("2"), says: calls("3", "browser-context@ffff", "newPage", "{}")},
	} {
		t.Run(name, func(t *testing.T) {
			r, server := preparedRig(t)
			context, page := prepared()
			client := r.introduced("c")
			if c.opens != "" {
				client.send(c.opens)
				client.take(contextAnswer("2"))
			}
			client.send(c.says)
			gone := said(contextGUID, "close")
			if c.opens == "" {
				// What is out of the client's way closes in its own time.
				server.take(string(closing(context)) + c.says)
			} else {
				server.take(string(closing(page)))
				gone = said(pageGUID, "close") + said("frame@1", "close")
				require.NoError(t, server.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
				_, err := server.in.Peek(1)
				require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the client's call waits")
				require.NoError(t, server.SetReadDeadline(time.Now().Add(patience)))
			}
			// Nothing is told of what the client did not ask for.
			server.send(said(pageGUID, "loadstate") + gone + said("page@other", "close"))
			client.take(said("page@other", "close"))
			server.send(textFrame(`{"id":"gate"}`, false))
			if c.opens != "" {
				server.take(c.says)
			}
			require.Equal(t, 1, r.prepared(unused))
			// From here on all goes to the server.
			client.send(newContext("5"))
			server.take(newContext("5"))
			client.send(newPage("6"))
			server.take(newPage("6"))
			goesOn(client, server)
			require.Zero(t, r.prepared(used))
			_ = client.Close()
			require.Empty(t, server.takeEnd())
			_ = server.Close()
			require.Equal(t, uint64(len(initialize("1", javascript)+c.opens+c.says+newContext("5")+newPage("6")+goesUp)), r.waitEnd().Counts.BytesUp)
		})
	}
}

func TestAControlFrameBeforeACallGoesToTheServer(t *testing.T) { // I8
	const pong = "\x8a\x82abcdxy"
	r, server := preparedRig(t)
	client := r.introduced("c")
	client.send(pong)
	server.take(pong)
	client.send(pong + newContext("2") + pong + newPage("3") + pong)
	client.take(contextAnswer("2") + pageAnswer("3"))
	server.take(pong + pong + pong)
}

// A page that has crashed, or a context that has closed, is nobody's first one.
func TestWhatHasGoneMeanwhileIsNotGiven(t *testing.T) {
	t.Run("long before", func(t *testing.T) {
		r, server := preparedRig(t)
		server.send(said(pageGUID, "loadstate"))
		server.send(said(pageGUID, "crash"))
		require.Empty(t, server.takeEnd())
		require.Zero(t, r.Prepared())
		require.Equal(t, 1, r.prepared(unused))
	})
	t.Run("before the session", func(t *testing.T) {
		r, server := preparedRig(t)
		server.send(said(pageGUID, "crash"))
		r.assign("c")
		client := r.dial(brought("c", "p"))
		anew, _ := r.accept()
		server.takeAll()
		anew.send(yes)
		client.take(yes)
	})
	t.Run("with its server", func(t *testing.T) {
		r, server := preparedRig(t)
		server.send(said(pageGUID, "loadstate"))
		_ = server.Close()
		r.assign("c")
		client := r.dial(brought("c", "p"))
		anew, _ := r.accept()
		anew.send(yes)
		client.take(yes)
	})
	t.Run("half said", func(t *testing.T) {
		r, server := preparedRig(t)
		server.send(said(pageGUID, "crash")[:20])
		r.assign("c")
		client := r.dial(brought("c", "p"))
		anew, _ := r.accept()
		server.takeAll()
		anew.send(yes)
		client.take(yes)
	})
	t.Run("in the session", func(t *testing.T) {
		r, server := preparedRig(t)
		_, page := prepared()
		client := r.introduced("c")
		server.send(said(pageGUID, "crash") + goesDown)
		client.take(goesDown)
		client.send(newContext("2"))
		client.take(contextAnswer("2"))
		client.send(newPage("3"))
		server.take(string(closing(page)))
		server.send(textFrame(`{"id":"gate"}`, false))
		server.take(newPage("3"))
		require.Equal(t, 1, r.prepared(unused))
	})
}

func TestAServerThatDoesNotGoOnIsAskedForLess(t *testing.T) {
	for name, c := range map[string]struct{ context, page string }{
		"no context":           {context: textFrame(`{"id":2,"error":{}}`, false)},
		"a context of no name": {context: textFrame(`{"id":2,"result":{}}`, false)},
		"no page":              {context: contextAnswer("2"), page: textFrame(`{"id":3,"error":{}}`, false)},
		"a page of no name":    {context: contextAnswer("2"), page: textFrame(`{"id":3,"result":{}}`, false)},
	} {
		t.Run(name, func(t *testing.T) {
			r, failed := aboutToPrepare(t)
			failed.take(frameOf(openContext, browserGUID, options))
			failed.send(c.context)
			if c.page != "" {
				failed.take(frameOf(openPage, contextGUID, "{}"))
				failed.send(c.page)
			}
			failed.takeAll()
			r.assign("c")
			client := r.dial(brought("c", "p"))
			server, _ := r.accept()
			server.send(yes)
			client.take(yes)
			server.take(helloFrame)
			server.send(welcomeWithBrowser("1"))
			client.send(initialize("1", javascript))
			client.take(welcomeWithBrowser("1"))
			client.send(newContext("2") + newPage("3"))
			server.take(newContext("2") + newPage("3"))
			_ = client.Close()
			require.Empty(t, server.takeEnd())
			_ = server.Close()
			r.waitEnd()
			next := r.ready()
			next.expect(yesTo)
			next.take(helloFrame)
			next.send(welcomeWithBrowser("1"))
			if c.page == "" {
				r.greets()
			} else {
				next.take(frameOf(openContext, browserGUID, options))
				next.send(contextAnswer("2"))
				r.isPrepared()
			}
			client = r.introduced("d")
			client.send(newContext("2"))
			if c.page == "" {
				next.take(newContext("2"))
			} else {
				client.take(contextAnswer("2"))
			}
			client.send(newPage("3"))
			next.take(newPage("3"))
		})
	}
}

// Where no answer may stand now, or what is hidden has something to say, the server answers.
func TestACallAtABadMomentGoesToTheServer(t *testing.T) { // I8
	t.Run("inside a message", func(t *testing.T) {
		r, server := preparedRig(t)
		context, _ := prepared()
		client := r.introduced("c")
		long := textFrame(`{"guid":"page@other","method":"loadstate","a":"`+strings.Repeat("x", 300)+`"}`, false)
		server.send(long[:200])
		client.take(long[:200])
		client.send(newContext("2"))
		server.take(string(closing(context)) + newContext("2"))
		server.send(long[200:])
		client.take(long[200:])
	})
	t.Run("inside a message of the page", func(t *testing.T) {
		r, server := preparedRig(t)
		_, page := prepared()
		client := r.introduced("c")
		long := textFrame(`{"guid":"page@4e5f","method":"loadstate","a":"`+strings.Repeat("x", 300)+`"}`, false)
		server.send(goesDown + long[:200])
		client.take(goesDown)
		client.send(newContext("2"))
		client.take(contextAnswer("2"))
		client.send(newPage("3"))
		server.take(string(closing(page)))
		server.send(long[200:] + textFrame(`{"id":"gate"}`, false) + goesDown)
		server.take(newPage("3"))
		client.take(goesDown)
	})
	t.Run("before the welcome", func(t *testing.T) {
		for range 20 {
			r, server := preparedRig(t)
			client := r.begin("c", initialize("1", javascript)+newContext("2"))
			client.take(welcomeWithBrowser("1"))
			_ = server.Close()
			client.takeAll()
			require.NoError(t, r.Stop(t.Context()))
		}
	})
}

// The connection of a client that begins in another way has nothing hidden.
func TestAnotherHelloForgetsWhatIsPrepared(t *testing.T) {
	r, prepared := preparedRig(t)
	client := r.begin("c", initialize("1", python))
	server, _ := r.accept()
	server.send(yes)
	server.take(initialize("1", python))
	require.Empty(t, prepared.takeEnd())
	require.Equal(t, 1, r.prepared(unused))
	server.send(said(pageGUID, "loadstate"))
	client.take(said(pageGUID, "loadstate"))
	client.send(newContext("2"))
	server.take(newContext("2"))
}

func TestAClientThatLeavesLeavesWhatIsPrepared(t *testing.T) {
	r, server := preparedRig(t)
	client := r.introduced("c")
	_ = client.Close()
	require.Empty(t, server.takeEnd())
	_ = server.Close()
	r.waitEnd()
	require.Equal(t, 1, r.prepared(unused))
}

// What a client has called that its guard refused is not called for the next.
func TestWhatIsRefusedIsNotCalledInAdvance(t *testing.T) { // I10
	r := newRig(t, preparing)
	var server *wire
	for _, session := range []string{"a", "b"} {
		var client *wire
		client, server = r.enters(session, server)
		client.send(initialize("1", javascript) + calls("2", browserGUID, "newContext", `{"deviceScaleFactor":99999}`) + goesUp)
		server.take(initialize("1", javascript) + goesUp)
		r.leaves(client, server)
		if session == "a" {
			server = r.spareOne()
		}
	}
	server = r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	require.Empty(t, server.takeEnd())
}

// What a session has taken is not gone on with.
func TestNothingIsPreparedOnAConnectionInUse(t *testing.T) {
	r := newRig(t, preparing)
	r.spare.after = 500 * time.Millisecond
	r.opens("a", nil)
	r.opens("b", r.spareOne())
	server := r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	r.greets()
	r.introduced("c")
	require.NoError(t, server.SetReadDeadline(time.Now().Add(time.Second)))
	_, err := server.in.Peek(1)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A server that stands still when it is to close a page does not hold up the client for ever, nor the session's end.
func TestASessionEndsWhileAPageIsClosed(t *testing.T) {
	for name, end := range map[string]func(r *rig, client, server *wire){
		"by the worker": func(r *rig, client, _ *wire) {
			r.end("c", Ending{Reason: "worker_retired", Text: "over"})
			client.take("\x88\x06\x03\xe9over")
		},
		"by the server": func(_ *rig, client, server *wire) {
			_ = server.Close()
			require.Empty(client.t, client.takeEnd())
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, server := preparedRig(t)
			_, page := prepared()
			client := r.introduced("c")
			client.send(newContext("2"))
			client.take(contextAnswer("2"))
			client.send(goesUp)
			server.take(string(closing(page)))
			began := time.Now()
			end(r, client, server)
			_ = client.Close()
			r.waitEnd()
			require.Less(t, time.Since(began), dismissTime)
		})
	}
}

// Nor for longer than a while: then the client goes on, and hears nothing of the page that is still there.
func TestAClientGoesOnBesideAPageThatIsNotClosed(t *testing.T) {
	r, server := preparedRig(t)
	r.set(func() { r.spare.dismiss = 20 * time.Millisecond })
	_, page := prepared()
	client := r.introduced("c")
	client.send(newContext("2"))
	client.take(contextAnswer("2"))
	client.send(goesUp)
	server.take(string(closing(page)) + goesUp)
	server.send(said(pageGUID, "loadstate") + goesDown)
	client.take(goesDown)
	server.send(said(pageGUID, "close") + textFrame(`{"id":"gate"}`, false) + goesDown)
	client.take(goesDown)
	require.Equal(t, 1, r.prepared(unused))
}

func TestAPreparedPageDoesNotWaitForEver(t *testing.T) {
	r, server := preparedRig(t)
	g := func() *greeted {
		r.spare.mu.Lock()
		defer r.spare.mu.Unlock()
		return r.spare.greeted
	}
	one := g()
	r.spare.expire(&greeted{}) // that of another time
	require.Same(t, one, g())
	r.spare.expire(one)
	require.Nil(t, g())
	require.Empty(t, server.takeEnd())
	require.Equal(t, 1, r.prepared(unused))
}

func TestAPreparedPageIsClosedInTime(t *testing.T) {
	r, server := aboutToPrepare(t)
	r.set(func() { r.spare.keep = 20 * time.Millisecond })
	server.take(frameOf(openContext, browserGUID, options))
	server.send(contextAnswer("2"))
	server.take(frameOf(openPage, contextGUID, "{}"))
	server.send(pageAnswer("3"))
	require.Empty(t, server.takeEnd())
	require.Zero(t, r.Prepared())
	require.Equal(t, 1, r.prepared(unused))
}

// Who has it already, but takes too long to ask for it, gets a new one.
func TestAPageThatIsTooOldIsOpenedAnew(t *testing.T) {
	r, server := preparedRig(t)
	context, _ := prepared()
	r.spare.keep = -time.Second
	client := r.introduced("c")
	client.send(newContext("2"))
	server.take(string(closing(context)) + newContext("2"))
}

// A server that does not answer holds up nobody, and its connection stays.
func TestWhoDoesNotAnswerIsNotInTheWay(t *testing.T) {
	r := newRig(t, preparing)
	r.spare.patience = 20 * time.Millisecond
	r.opens("a", nil)
	r.opens("b", r.spareOne())
	slow := r.ready()
	slow.expect(yesTo)
	slow.take(helloFrame)
	slow.send(welcomeWithBrowser("1"))
	slow.take(frameOf(openContext, browserGUID, options))
	r.assign("c")
	client := r.dial(brought("c", "p"))
	server, _ := r.accept()
	server.send(yes)
	client.take(yes)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	require.Eventually(t, func() bool {
		r.spare.mu.Lock()
		defer r.spare.mu.Unlock()
		return r.spare.preparing == nil
	}, patience, time.Millisecond)
	client.send(initialize("1", javascript) + newContext("2"))
	client.take(welcomeWithBrowser("1"))
	_ = client.Close()
	server.takeAll()
	r.waitEnd()
	next := r.ready()
	next.expect(yesTo)
	next.take(helloFrame)
	next.send(welcomeWithBrowser("1"))
	r.greets()
	slow.send(contextAnswer("2"))
	slow.take(frameOf(openPage, contextGUID, "{}"))
	slow.send(pageAnswer("3"))
	require.Empty(t, slow.takeEnd())
}

func TestARefusedSessionWastesWhatIsPrepared(t *testing.T) {
	r, server := preparedRig(t)
	r.set(func() { r.answer = state.StartUnknown })
	status, _, _ := r.dial(brought("none", "p") + initialize("1", javascript)).answer()
	require.Equal(t, 403, status)
	require.Empty(t, server.takeEnd())
	require.Equal(t, 1, r.prepared(unused))
}

// Where clients differ now and then those that do not profit all the same; where pages are opened in vain it ends.
func TestWasteIsLearnedFrom(t *testing.T) {
	whole, part := opening{"a", "b", "c"}, opening{"a"}
	for odd, c := range map[int]struct{ given, wasted int }{ // each so-many-th begins otherwise; percent of sessions
		2: {0, 0}, 3: {0, 3}, 4: {24, 26}, 5: {39, 21}, 10: {69, 11}, 100: {96, 2},
	} {
		s := spare{credit: firstCredit}
		given, wasted, ready := 0, 0, false
		const all = 10_000
		for i := range all {
			k := kind{handshake: "x", opening: whole}
			if i%odd == 0 {
				k.opening = part
			}
			switch {
			case ready && k.opening == whole:
				k.outcome = used
				given++
			case ready:
				k.outcome = unused
				wasted++
			}
			s.learn(k, true)
			ready = s.expected == whole && s.credit > 0
		}
		require.GreaterOrEqual(t, given*100/all, c.given, "of %d", odd)
		require.LessOrEqual(t, wasted*100/all, c.wasted, "of %d", odd)
	}
	s := spare{credit: maxCredit}
	s.learn(kind{opening: whole}, false)
	s.learn(kind{opening: whole, outcome: used}, true)
	require.Equal(t, len(whole), s.expected.steps())
	require.Equal(t, maxCredit, s.credit)
	s.learn(kind{handshake: "y", opening: whole}, false)
	require.Equal(t, opening{}, s.expected)
}

func TestNothingIsPreparedOnceNoSessionCanCome(t *testing.T) {
	var retiring atomic.Bool
	r := newRig(t, func(o *Options) { preparing(o); o.Wanted = func() bool { return !retiring.Load() } })
	r.spare.after = 300 * time.Millisecond
	r.opens("a", nil)
	r.opens("b", r.spareOne())
	server := r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	r.greets()
	retiring.Store(true)
	require.NoError(t, server.SetReadDeadline(time.Now().Add(600*time.Millisecond)))
	_, err := server.in.Peek(1)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A session that has just begun, on another connection, is not to wait for a page of the next.
func TestNothingIsPreparedBesideASessionThatBegins(t *testing.T) {
	r := newRig(t, preparing)
	r.spare.after = 300 * time.Millisecond
	g := &greeted{served: &served{hello: newAdvance(sayHello, "", javascript)}, common: "x"}
	r.spare.expected = opening{javascript, options}
	r.spare.mu.Lock()
	r.spare.greeted = g
	r.spare.mu.Unlock()
	began := time.Now()
	time.AfterFunc(200*time.Millisecond, func() {
		r.spare.mu.Lock()
		defer r.spare.mu.Unlock()
		r.spare.comes("x")
	})
	o, ok := r.spare.await(t.Context(), g)
	require.True(t, ok)
	require.Equal(t, r.spare.expected, o)
	require.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond)
	require.Same(t, g, r.spare.preparing)
}

func TestNothingIsPreparedWhereNoSessionCanCome(t *testing.T) {
	var retiring atomic.Bool
	r := newRig(t, func(o *Options) { preparing(o); o.Wanted = func() bool { return !retiring.Load() } })
	r.spare.after = patience
	r.opens("a", nil)
	r.opens("b", r.spareOne())
	server := r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	r.greets()
	r.assign("c")
	retiring.Store(true)
	client := r.introduced("c")
	_ = client.Close()
	server.takeAll()
	r.waitEnd()
	require.NoError(t, r.server.SetDeadline(time.Now().Add(100*time.Millisecond)))
	_, err := r.server.AcceptUnix()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A session of another kind that comes meanwhile is the last to say hello.
func TestWhatIsPreparedMeanwhileIsOutdated(t *testing.T) {
	r, server := aboutToPrepare(t)
	server.take(frameOf(openContext, browserGUID, options))
	r.assign("c")
	client := r.dial(strings.Replace(brought("c", "p"), "Playwright/1.65.1", "Playwright/1.65.2", 1))
	other, _ := r.accept()
	other.send(yes)
	client.take(yes)
	server.send(contextAnswer("2"))
	server.take(frameOf(openPage, contextGUID, "{}"))
	server.send(pageAnswer("3"))
	require.Empty(t, server.takeEnd())
	require.Equal(t, 1, r.prepared(unused))
}

// What failed on one server is tried again on the next.
func TestAnotherServerIsAskedAgain(t *testing.T) {
	r, failed := aboutToPrepare(t)
	failed.take(frameOf(openContext, browserGUID, options))
	failed.send(textFrame(`{"id":2,"error":{}}`, false))
	failed.takeAll()
	r.set(func() { r.generation++ })
	r.assign("c")
	client := r.dial(brought("c", "p"))
	server, _ := r.accept()
	server.send(yes)
	client.take(yes)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	client.send(initialize("1", javascript) + newContext("2"))
	client.take(welcomeWithBrowser("1"))
	server.take(newContext("2"))
	_ = client.Close()
	server.takeAll()
	r.waitEnd()
	server = r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	server.take(frameOf(openContext, browserGUID, options))
}

// A session that comes before anything is prepared does not wait for it.
func TestWhoComesAtOnceIsNotInTheWayOfAPage(t *testing.T) {
	r := newRig(t, preparing)
	r.spare.after = time.Hour
	r.opens("a", nil)
	r.opens("b", r.spareOne())
	server := r.ready()
	server.expect(yesTo)
	server.take(helloFrame)
	server.send(welcomeWithBrowser("1"))
	r.greets()
	client := r.introduced("c")
	client.send(newContext("2"))
	server.take(newContext("2"))
	require.Zero(t, r.prepared(unused))
	// The gate stops without waiting for the hour.
}

func TestHowMuchIsPreparedIsASetting(t *testing.T) {
	for how, want := range map[string]opening{
		PreparePage: {"a", "b", "c"}, PrepareContext: {"a", "b"}, PrepareNothing: {"a"},
	} {
		o := Options{Prepare: how}
		require.Equal(t, want, opening{"a", "b", "c"}.before(o.advance()))
	}
}

func TestASessionEndsWhileAPageIsPrepared(t *testing.T) {
	t.Run("which the gate waits for", func(t *testing.T) {
		r, server := aboutToPrepare(t)
		server.take(frameOf(openContext, browserGUID, options))
		require.NoError(t, r.Stop(t.Context()))
		server.takeAll()
	})
	t.Run("which the client has not asked for", func(t *testing.T) {
		r, server := preparedRig(t)
		client := r.introduced("c")
		server.send(said(pageGUID, "loadstate")[:30])
		r.end("c", Ending{Reason: "worker_retired", Text: "over"})
		client.take("\x88\x06\x03\xe9over")
		_ = client.Close()
		server.takeAll()
		require.Equal(t, "worker_retired", r.waitEnd().Reason)
	})
	t.Run("with the browser", func(t *testing.T) {
		r, server := preparedRig(t)
		client := r.introduced("c")
		server.send(said(pageGUID, "close") + said(browserGUID, "close"))
		client.take(said(browserGUID, "close"))
		close(r.over)
		require.NoError(t, r.server.Close())
		_ = server.Close()
		client.takeAll()
		require.Equal(t, browserCrashed, r.waitEnd().Reason)
	})
}

// What the gate calls itself has to pass the guard as if a client had called it.
func TestTheGateCallsWhatItsGuardAllows(t *testing.T) { // I10
	rules := guard.New(guard.Options{CDP: guard.CDPRefuse})
	require.True(t, newAdvance(openContext, browserGUID, options).allowed(rules))
	require.True(t, newAdvance(openPage, contextGUID, "{}").allowed(rules))
	for _, params := range []string{`{"deviceScaleFactor":99999}`, `{"viewport":{"width":99999,"height":99999}}`, `{"proxy":{"server":"x"}}`, `{"a":`} {
		require.False(t, newAdvance(openContext, browserGUID, params).allowed(rules), params)
	}
	require.False(t, newAdvance(openContext, browserGUID, options).allowed(nil))
}

func TestOnlyObjectsThatAreClearAreCalled(t *testing.T) {
	a := newAdvance(sayHello, "", javascript)
	require.Empty(t, a.only("Browser"))
	require.NoError(t, a.hear(bufio.NewReader(strings.NewReader(welcomeWithBrowser("1")))))
	require.Equal(t, browserGUID, a.only("Browser"))
	a.made["browser@another"] = "Browser"
	require.Empty(t, a.only("Browser"))
}
