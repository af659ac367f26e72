package state_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// TestTheScriptsWriteWhatTheTypesRead has every type of event written. That each
// conforms, and that together they make up the state, is checked on every read.
func TestTheScriptsWriteWhatTheTypesRead(t *testing.T) {
	p := newPool(t)
	w := worker("w1", 1)
	w.Labels, w.Lifetime = map[string]string{"gpu": "1"}, 9
	p.join(w)
	r := request("s1")
	r.Name, r.Labels, r.Token, r.Client = "checkout <eu>", map[string]string{"team": "shop"}, "ci", "192.0.2.1"
	p.ask(r)
	p.start("s1", "w1", 1)
	p.acquire("s2")
	p.cancel("s2")
	p.finish("w1", "s1")
	p.acquire("s3")
	p.reassign("s3", "w1", 1)
	p.beatAs(state.Beat{Worker: "w1", Number: 2, State: state.Unhealthy, Missing: "browser_crashed"})
	p.beat("w1", 3)
	p.retire("w1", state.RetireDrain)
	p.leave("w1", state.RetireDrain, true)
	p.join(worker("w2", 1))
	p.lastSeen(time.Minute)
	p.proxyBeat("p1")
	p.expire(p.k.Workers(), "w2")
	p.reap(10)
	written := map[event.Type]bool{}
	p.read()
	for _, e := range p.log {
		written[e.Type] = true
	}
	for _, kind := range event.Types() {
		require.True(t, written[kind], kind)
	}
	require.Len(t, written, len(event.Types()))
	ended := p.log[slices.IndexFunc(p.log, func(e event.Event) bool { return e.Type == event.SessionEnded })].Session
	require.Equal(t, []any{"s1", "p1", "w1", int64(1), "checkout <eu>", "shop", "ci", "192.0.2.1", "140.0.1", "1.65.1", true},
		[]any{ended.ID, ended.Proxy, ended.Worker, ended.Attempt, ended.Name, ended.Labels["team"], ended.Token, ended.Client, ended.BrowserVersion, ended.Playwright, ended.Started})
}

// read takes in the events since the last call. Each must be exactly what package
// event describes.
func (p *pool) read() []event.Event {
	p.t.Helper()
	entries, err := p.do("XRANGE", p.k.Events(), "("+p.last, "+").AsXRange()
	require.NoError(p.t, err)
	var news []event.Event
	for _, entry := range entries {
		require.NoError(p.t, event.Conform(entry.FieldValues), "%v", entry.FieldValues)
		e, err := event.Parse(entry.ID, entry.FieldValues)
		require.NoError(p.t, err)
		p.last = entry.ID
		p.take(e)
		news = append(news, e)
	}
	return news
}

func (p *pool) take(e event.Event) {
	p.t.Helper()
	if e.Type == event.PoolReset {
		p.log, p.told = nil, map[string]int{}
	}
	p.log = append(p.log, e)
	if !p.fold.Apply(e) {
		p.t.Fatalf("event %s says nothing new: %+v", e.ID, e)
	}
	if e.Type == event.SessionEnded || e.Type == event.SessionRejected {
		p.told[e.Session.ID]++
		if p.told[e.Session.ID] > 1 {
			p.t.Fatalf("session %s ended twice (I2)", e.Session.ID)
		}
	}
}

// types lists what happened since the last read, with the subject.
func (p *pool) types() []string {
	p.t.Helper()
	var list []string
	for _, e := range p.read() {
		list = append(list, string(e.Type)+" "+e.Subject())
	}
	return list
}

// only returns the last event of the type.
func (p *pool) only(kind event.Type) event.Event {
	p.t.Helper()
	p.read()
	for _, e := range slices.Backward(p.log) {
		if e.Type == kind {
			return e
		}
	}
	p.t.Fatalf("no %s", kind)
	return event.Event{}
}
