package event

import (
	"math"
	"slices"
	"time"
)

// Parse reads one entry of the log. streamID is its id in the stream and may be
// empty.
//
// The error is a [*MalformedError] when the entry is not an event, in which case
// the event is of no use, or a [*VersionError] when it has a higher schema
// version: then the event holds what could be read, and fields that could not
// are in Extra. Unknown types and fields are no error, nor is a field that is
// missing from the part, except for the one that names its subject.
func Parse(streamID string, fields map[string]string) (Event, error) {
	e := Event{StreamID: streamID}
	if err := e.parseHeader(fields); err != nil {
		err.StreamID = streamID
		return e, err
	}
	lenient := e.Version > Version || !e.Type.Known()
	if err := e.parsePart(fields, lenient); err != nil {
		err.StreamID = streamID
		return e, err
	}
	if e.Version > Version {
		return e, &VersionError{StreamID: streamID, Version: e.Version}
	}
	return e, nil
}

func (e *Event) parseHeader(fields map[string]string) *MalformedError {
	for _, name := range []string{"v", "type", "id", "at", "pool"} {
		if fields[name] == "" {
			return &MalformedError{Field: name, Problem: "is missing"}
		}
	}
	if _, ok := fields[streamIDName]; ok {
		return &MalformedError{Field: streamIDName, Problem: "is reserved"}
	}
	v, err := parseInt(fields["v"])
	if err != nil || v < 1 || v > math.MaxInt32 {
		return &MalformedError{Field: "v", Problem: "is not a schema version: " + quote(fields["v"])}
	}
	e.Version, e.Type, e.ID, e.Pool = int(v), Type(fields["type"]), fields["id"], fields["pool"]
	for _, f := range []struct {
		name string
		at   *time.Time
	}{{"at", &e.At}, {"happened", &e.Happened}} {
		if fields[f.name] == "" {
			continue
		}
		t, err := parseTime(fields[f.name])
		if err != nil {
			return &MalformedError{Field: f.name, Problem: err.Error()}
		}
		*f.at = t
	}
	return nil
}

func (e *Event) parsePart(fields map[string]string, lenient bool) *MalformedError {
	read := 0
	isRead := [maxFields]bool{}
	spec := fieldsOf(e.Type.Family())
	e.addPart()
	for i := range spec {
		f := &spec[i]
		s, there := fields[f.name]
		if i == 0 && s == "" {
			if !lenient {
				return &MalformedError{Field: f.name, Problem: "is missing"}
			}
			e.dropPart()
			break
		}
		if !there || f.needOf(e.Type, i == 0) == absent {
			continue
		}
		// An empty value is the same as none.
		if s != "" {
			if err := decode(f.of(e), s); err != nil {
				if !lenient {
					return &MalformedError{Field: f.name, Problem: err.Error()}
				}
				continue
			}
		}
		isRead[i] = true
		read++
	}
	for _, h := range headerFields {
		if _, there := fields[h.name]; there {
			read++
		}
	}
	if read == len(fields) {
		return nil
	}
	e.Extra = make(map[string]string, len(fields)-read)
	for name, s := range fields {
		known := slices.IndexFunc(spec, func(f field) bool { return f.name == name })
		if !isHeader(name) && (known < 0 || !isRead[known]) {
			e.Extra[name] = s
		}
	}
	return nil
}

func isHeader(name string) bool {
	for _, h := range headerFields {
		if h.name == name {
			return true
		}
	}
	return false
}
