package state_test

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

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
