package event

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Conform holds an entry against the schema as its writer must keep it, which is
// stricter than what [Parse] reads: the current version, a known type, every
// field known for that type and in canonical form, none missing, none empty, and
// an id of the right shape. It returns all deviations joined, or nil. It is meant
// for the tests of writers.
func Conform(fields map[string]string) error {
	e, err := Parse("", fields)
	if err != nil {
		return err
	}
	var wrong []error
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	if !e.Type.Known() {
		add("unknown type %q", e.Type)
	}
	if err := CheckPool(e.Pool); err != nil {
		add("%w", err)
	}
	if n, ok := strings.CutPrefix(e.ID, e.Subject()+":"+string(e.Type)+":"); !ok || n == "" {
		add("id %q is not <subject>:<type>:<n>", e.ID)
	}
	if e.Session != nil && e.Session.Reason != "" && !slices.Contains(reasons, e.Session.Reason) {
		add("unknown reason %q", e.Session.Reason)
	}
	if e.Worker != nil && !slices.Contains([]WorkerState{"", Unhealthy, Retiring}, e.Worker.State) {
		add("state %q is neither %q nor %q", e.Worker.State, Unhealthy, Retiring)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		add("unknown field %q", name)
	}
	canonical := map[string]string{}
	for _, f := range e.Fields() {
		canonical[f.Name] = f.Value
		got, there := fields[f.Name]
		switch {
		case !there:
			add("field %q is missing", f.Name)
		case got == "":
			add("field %q is empty", f.Name)
		case got != f.Value && f.Name != "labels":
			add("field %q is %q instead of %q", f.Name, got, f.Value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if _, ok := canonical[name]; !ok {
			add("field %q should be left out when it is %q", name, fields[name])
		}
	}
	return errors.Join(wrong...)
}
