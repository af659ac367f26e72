package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	streamIDName = "stream_id"
	jsonTime     = "2006-01-02T15:04:05.000Z07:00"
)

// MarshalJSON writes the event as one flat object under the names of the flat
// fields: times in RFC 3339 with milliseconds, durations as integers of
// milliseconds, labels as an object, isolation as an array, flags as booleans.
// What is in Extra comes last, as strings.
func (e Event) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 768)
	name := func(s string) {
		b = append(b, ',')
		b = appendString(b, s)
		b = append(b, ':')
	}
	text := func(n, s string) {
		name(n)
		b = appendString(b, s)
	}
	if e.StreamID != "" {
		text(streamIDName, e.StreamID)
	}
	name("v")
	b = strconv.AppendInt(b, int64(e.Version), 10)
	text("type", string(e.Type))
	text("id", e.ID)
	text("at", e.At.UTC().Format(jsonTime))
	if !e.Happened.IsZero() {
		text("happened", e.Happened.UTC().Format(jsonTime))
	}
	text("pool", e.Pool)
	e.eachPresent(func(n string, p any) {
		name(n)
		b = appendValue(b, p)
	})
	for _, n := range slices.Sorted(maps.Keys(e.Extra)) {
		text(n, e.Extra[n])
	}
	b[0] = '{' // in place of the first comma
	return append(b, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote. Its errors are those of [Parse],
// with one difference: a higher schema version is not an error here, because a
// decoder would stop at it.
func (e *Event) UnmarshalJSON(data []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	fields := make(map[string]string, len(raw))
	for name, value := range raw {
		s, err := flatten(value)
		if err != nil {
			return &MalformedError{Field: name, Problem: err.Error()}
		}
		fields[name] = s
	}
	streamID := fields[streamIDName]
	delete(fields, streamIDName)
	for _, name := range []string{"at", "happened"} {
		if fields[name] == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, fields[name])
		if err != nil {
			return &MalformedError{StreamID: streamID, Field: name, Problem: "is not a time in RFC 3339: " + quote(fields[name])}
		}
		fields[name] = strconv.FormatInt(t.UnixMilli(), 10)
	}
	parsed, err := Parse(streamID, fields)
	if _, newer := errors.AsType[*VersionError](err); err != nil && !newer {
		return err
	}
	*e = parsed
	return nil
}

// flatten turns a JSON value into the flat value that it stands for.
func flatten(value json.RawMessage) (string, error) {
	switch value[0] {
	case '"':
		var s string
		err := json.Unmarshal(value, &s)
		return s, err
	case 't':
		return "1", nil
	case 'f':
		return "0", nil
	case 'n':
		return "", nil
	case '[':
		var list []string
		if err := json.Unmarshal(value, &list); err != nil {
			return "", errors.New("is not a list of strings")
		}
		return strings.Join(list, ","), nil
	}
	return string(value), nil
}
