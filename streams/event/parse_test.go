package event

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// endedWith is a good entry with some fields set anew; "-" takes one away.
func endedWith(t *testing.T, changes ...string) map[string]string {
	fields := readFields(t, "session.ended")
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "-" {
			delete(fields, changes[i])
		} else {
			fields[changes[i]] = changes[i+1]
		}
	}
	return fields
}

func TestParseRefusesWhatIsNoEvent(t *testing.T) {
	for _, c := range []struct{ field, value, problem string }{
		{"v", "-", "is missing"},
		{"v", "one", "is not a schema version"},
		{"v", "0", "is not a schema version"},
		{"v", "99999999999", "is not a schema version"},
		{"type", "-", "is missing"},
		{"type", "", "is missing"},
		{"id", "-", "is missing"},
		{"at", "-", "is missing"},
		{"at", "2026-01-01", "is not a decimal integer"},
		{"at", "-1", "is not a time"},
		{"at", "253402300800000", "is not a time"},
		{"happened", "yesterday", "is not a decimal integer"},
		{"pool", "-", "is missing"},
		{"session", "-", "is missing"},
		{"stream_id", "1-0", "is reserved"},
		{"attempt", "1.5", "is not a decimal integer"},
		{"bytes_up", "1e+15", "is not a decimal integer"},
		{"queued_ms", "9223372036855", "is not a duration"},
		{"started", "yes", "is neither 0 nor 1"},
		{"labels", "team=shop", "is not a JSON object of strings"},
		{"labels", `{"n":1}`, "is not a JSON object of strings"},
		{"labels", `{"n":null}`, "is not a JSON object of strings"},
		{"labels", "null", "is not a JSON object of strings"},
	} {
		t.Run(c.field+"="+c.value, func(t *testing.T) {
			_, err := Parse("5-1", endedWith(t, c.field, c.value))
			var malformed *MalformedError
			require.ErrorAs(t, err, &malformed)
			require.Equal(t, "5-1", malformed.StreamID)
			require.Equal(t, c.field, malformed.Field)
			require.Contains(t, err.Error(), c.problem)
			require.Contains(t, err.Error(), "5-1")
		})
	}
}

func TestParseQuotesOnlyTheStartOfALongValue(t *testing.T) {
	_, err := Parse("", endedWith(t, "attempt", strings.Repeat("x", 5000)))
	require.Less(t, len(err.Error()), 200)
	require.NotContains(t, err.Error(), " at ")
}

func TestParseForgives(t *testing.T) {
	t.Run("a field that is missing from the part", func(t *testing.T) {
		e, err := Parse("", endedWith(t, "bytes_up", "-", "reason", "-", "labels", ""))
		require.NoError(t, err)
		require.Zero(t, e.Session.BytesUp)
		require.Empty(t, e.Session.Reason)
		require.Nil(t, e.Session.Labels)
		require.Nil(t, e.Extra)
	})
	t.Run("a clock that went backwards", func(t *testing.T) {
		e, err := Parse("", endedWith(t, "queued_ms", "-3"))
		require.NoError(t, err)
		require.Equal(t, -3*time.Millisecond, e.Session.Queued)
	})
	t.Run("a reason it does not know", func(t *testing.T) {
		e, err := Parse("", endedWith(t, "reason", "abducted"))
		require.NoError(t, err)
		require.Equal(t, Reason("abducted"), e.Session.Reason)
	})
}

func TestUnknownFieldsSurvive(t *testing.T) {
	fields := endedWith(t, "region", "eu", "cpu_ms", "17", "gap_ms", "4", "class", "c1")
	e, err := Parse("7-0", fields)
	require.NoError(t, err)
	want := map[string]string{"region": "eu", "cpu_ms": "17", "gap_ms": "4", "class": "c1"}
	require.Equal(t, want, e.Extra)
	require.Empty(t, e.Session.Class, "a field that this type does not have is not guessed at")
	require.Equal(t, fields, fieldMap(e))

	line, err := json.Marshal(e)
	require.NoError(t, err)
	var back Event
	require.NoError(t, json.Unmarshal(line, &back))
	require.Equal(t, e, back)
}

func TestUnknownTypes(t *testing.T) {
	header := map[string]string{"v": "1", "id": "x", "at": "1", "pool": "default"}
	with := func(more ...string) map[string]string {
		f := maps.Clone(header)
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		return f
	}
	t.Run("of a known family is read by its family's fields", func(t *testing.T) {
		fields := with("type", "session.paused", "session", "s1", "worker", "w1", "active_ms", "5", "why", "lunch", "attempt", "?")
		e, err := Parse("", fields)
		require.NoError(t, err)
		require.False(t, e.Type.Known())
		require.Equal(t, "s1", e.Session.ID)
		require.Equal(t, "w1", e.Session.Worker)
		require.Equal(t, 5*time.Millisecond, e.Session.Active)
		require.Equal(t, map[string]string{"why": "lunch", "attempt": "?"}, e.Extra)
		require.Equal(t, fields, fieldMap(e))
	})
	t.Run("without a subject is all extra", func(t *testing.T) {
		fields := with("type", "worker.census", "slots", "9")
		e, err := Parse("", fields)
		require.NoError(t, err)
		require.Nil(t, e.Worker)
		require.Equal(t, fields, fieldMap(e))
	})
	t.Run("of an unknown family is all extra", func(t *testing.T) {
		fields := with("type", "proxy.joined", "proxy", "p1")
		e, err := Parse("", fields)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"proxy": "p1"}, e.Extra)
		require.Equal(t, "default", e.Subject())
		require.Equal(t, fields, fieldMap(e))
	})
}

func TestHigherVersion(t *testing.T) {
	fields := endedWith(t, "v", "2", "attempt", "first", "shape", "round")
	e, err := Parse("9-0", fields)
	var newer *VersionError
	require.ErrorAs(t, err, &newer)
	require.Equal(t, 2, newer.Version)
	require.Contains(t, err.Error(), "upgrade")
	require.Equal(t, "s-0b6c2d94e1f8", e.Session.ID)
	require.Equal(t, map[string]string{"attempt": "first", "shape": "round"}, e.Extra)
	require.Equal(t, fields, fieldMap(e))

	line, err := e.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(line), `"attempt"`))
	var back Event
	require.NoError(t, json.Unmarshal(line, &back))
	require.Equal(t, e, back)
}

func TestUnmarshalJSONErrors(t *testing.T) {
	for _, c := range []struct{ line, problem string }{
		{`[]`, "cannot unmarshal"},
		{`{"v":1}`, `field "type" is missing`},
		{`{"v":1,"type":"pool.reset","id":"x","at":5,"pool":"p"}`, `field "at" is not a time in RFC 3339`},
		{`{"v":1,"type":"pool.reset","id":["x",1],"at":"2026-01-01T00:00:00Z","pool":"p"}`, `field "id" is not a list of strings`},
	} {
		var e Event
		require.ErrorContains(t, json.Unmarshal([]byte(c.line), &e), c.problem, c.line)
	}
}

func TestTime(t *testing.T) {
	e := Event{At: ms(5000)}
	require.Equal(t, ms(5000), e.Time())
	e.Happened = ms(4000)
	require.Equal(t, ms(4000), e.Time())
}

func TestKey(t *testing.T) {
	require.Equal(t, "{pwdist:team-a}:events", Key("team-a"))
	for _, bad := range []string{"", "A", "a b", "a}", strings.Repeat("a", 41)} {
		require.ErrorContains(t, CheckPool(bad), "use 1 to 40 characters")
		require.Panics(t, func() { Key(bad) })
	}
}

func fieldMap(e Event) map[string]string {
	m := map[string]string{}
	for _, f := range e.Fields() {
		m[f.Name] = f.Value
	}
	return m
}

func BenchmarkParse(b *testing.B) {
	e := samples()[14].event
	fields := fieldMap(e)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("1-1", fields); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshalJSON(b *testing.B) {
	e := samples()[14].event
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.MarshalJSON(); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParse takes an entry as alternating names and values, one to a line.
func FuzzParse(f *testing.F) {
	for _, s := range samples() {
		var lines []string
		for _, x := range s.event.Fields() {
			lines = append(lines, x.Name, x.Value)
		}
		f.Add(strings.Join(lines, "\n"))
	}
	f.Add("v\n2\ntype\nsession.paused\nid\nx\nat\n1\npool\np\nsession\ns\nattempt\n?")
	f.Fuzz(func(t *testing.T, in string) {
		fields := map[string]string{}
		for pair := range slices.Chunk(strings.Split(in, "\n"), 2) {
			if len(pair) == 2 {
				fields[pair[0]] = pair[1]
			}
		}
		e, err := Parse("1-1", fields)
		if _, malformed := errors.AsType[*MalformedError](err); malformed {
			return
		}
		again, err2 := Parse("1-1", fieldMap(e))
		require.Equal(t, err, err2)
		require.Equal(t, e, again, "what is written is what is read")
		require.Equal(t, fieldMap(e), fieldMap(again))
		for name, value := range fields {
			if _, known := fieldMap(e)[name]; !known {
				require.True(t, value == "" || knownField(e, name), "field %q was dropped", name)
			}
		}

		line, err := e.MarshalJSON()
		require.NoError(t, err)
		require.True(t, json.Valid(line), string(line))
		if !utf8.ValidString(in) {
			return // JSON cannot hold it as it is
		}
		var back Event
		require.NoError(t, json.Unmarshal(line, &back))
		require.Equal(t, e, back)
		new(State).Apply(e)
	})
}

func knownField(e Event, name string) bool {
	for _, f := range fieldsOf(e.Type.Family()) {
		if f.name == name {
			return true
		}
	}
	return isHeader(name)
}
