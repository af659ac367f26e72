package cli

import (
	"fmt"
	"path"
	"strings"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// filter chooses events; its zero value takes all.
type filter struct {
	types   []string // globs, any of them
	session string
	worker  string
}

// check refuses patterns that cannot match, which would look like a quiet pool.
func (f *filter) check() error {
	for _, glob := range f.types {
		matches := false
		for _, t := range event.Types() {
			ok, err := path.Match(glob, string(t))
			if err != nil {
				return fmt.Errorf("--type %q: not a pattern; use * for any characters, as in 'session.*'", glob)
			}
			matches = matches || ok
		}
		if !matches {
			return fmt.Errorf("--type %q matches no event type; the types are %s", glob, typeList())
		}
	}
	return nil
}

func typeList() string {
	var names []string
	for _, t := range event.Types() {
		names = append(names, string(t))
	}
	return strings.Join(names, ", ")
}

func (f *filter) match(e *event.Event) bool {
	if len(f.types) > 0 {
		found := false
		for _, glob := range f.types {
			ok, _ := path.Match(glob, string(e.Type))
			found = found || ok
		}
		if !found {
			return false
		}
	}
	if f.session != "" && (e.Session == nil || e.Session.ID != f.session) {
		return false
	}
	if f.worker != "" {
		ofWorker := e.Worker != nil && e.Worker.ID == f.worker
		onWorker := e.Session != nil && e.Session.Worker == f.worker
		return ofWorker || onWorker
	}
	return true
}
