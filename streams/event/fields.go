package event

import (
	"maps"
	"slices"
	"strconv"
)

// Field is one flat field of an entry.
type Field struct {
	Name  string
	Value string
}

// Fields returns the flat fields of an event in their canonical order: header,
// part, then Extra by name. Empty optional fields are left out.
func (e *Event) Fields() []Field {
	out := []Field{
		{"v", strconv.Itoa(e.Version)},
		{"type", string(e.Type)},
		{"id", e.ID},
		{"at", strconv.FormatInt(e.At.UnixMilli(), 10)},
	}
	if !e.Happened.IsZero() {
		out = append(out, Field{"happened", strconv.FormatInt(e.Happened.UnixMilli(), 10)})
	}
	out = append(out, Field{"pool", e.Pool})
	e.eachPresent(func(name string, p any) {
		out = append(out, Field{name, encode(p)})
	})
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		out = append(out, Field{name, e.Extra[name]})
	}
	return out
}

// eachPresent calls f for each field of the part that is written.
func (e *Event) eachPresent(f func(name string, p any)) {
	if !e.hasPart() {
		return
	}
	spec := fieldsOf(e.Type.Family())
	for i := range spec {
		d := &spec[i]
		n := d.needOf(e.Type, i == 0)
		if n == absent {
			continue
		}
		if _, kept := e.Extra[d.name]; kept {
			continue
		}
		p := d.of(e)
		if n == required || !isZero(p) || d.always != nil && d.always(e) {
			f(d.name, p)
		}
	}
}
