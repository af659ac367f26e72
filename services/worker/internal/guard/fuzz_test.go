package guard

import (
	"bytes"
	"encoding/json"
	"testing"
)

// reading is what the server takes out of a message.
type reading struct {
	id, guid, method string
}

// lastWins reads as JSON.parse does, by a parser that is not ours: the last of
// several keys counts, and keys are compared as they are.
func lastWins(text []byte) (r reading, ok bool) {
	if !json.Valid(text) {
		return r, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return r, false
	}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return r, false
		}
		var s string
		switch key {
		case "id":
			r.id = string(value)
		case "guid":
			_ = json.Unmarshal(value, &s)
			r.guid = s
		case "method":
			_ = json.Unmarshal(value, &s)
			r.method = s
		}
	}
	return r, true
}

// FuzzGuard: what the guard lets through is JSON that another parser reads in
// the same way, is not changed, and does not depend on how it is cut.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		call(1, "page@1", "close", "{}"), call(1, "browser@1", "newBrowserCDPSession", "{}"),
		`{"id":"a@1","guid":"","method":"initialize","params":{"a":[1,-2.5e+7,true,null,"\ud83d\ude00\u0041"]}}`,
		`{"guid":"page@1","guid":"browser@1","method":"killForTests"}`, `{"gu\u0069d":"browser@1","method":"kill\u0046orTests"}`,
		`{"__proto__":{"guid":"browser@1"},"guid":"page@1","method":"close"}`, "\ufeff{}", `{"id":1e3}`, `[]`, `{"a":"\ud800"}`,
	} {
		f.Add([]byte(s), 3)
	}
	rules := New(filter)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		if len(text) > 100_000 {
			return
		}
		in := frame(opText, string(text))
		w := &wire{}
		err := rules.Guard(w).Feed(in)
		passed := err == nil && len(w.refused) == 0

		pieces := &wire{}
		g := rules.Guard(pieces)
		at := min(max(cut, 0), len(in))
		cutErr := g.Feed(in[:at])
		if cutErr == nil {
			cutErr = g.Feed(in[at:])
		}
		if (err == nil) != (cutErr == nil) || len(w.refused) != len(pieces.refused) {
			t.Fatalf("whole: %v %v, cut: %v %v", err, w.refused, cutErr, pieces.refused)
		}
		if !passed {
			return
		}
		if !bytes.Equal(w.forwarded, in) || !bytes.Equal(pieces.forwarded, in) {
			t.Fatal("the message was changed")
		}
		r, ok := lastWins(text)
		if !ok {
			t.Fatalf("no JSON, or no object: %q", text)
		}
		if r.method == "__waitInfo__" || r.method == "__abort__" {
			return
		}
		prefix, _, _ := bytes.Cut([]byte(r.guid), []byte("@"))
		rule := rules.kinds[string(prefix)][r.method]
		if rule == nil || rule.refuse != "" {
			t.Fatalf("%+v passed", r)
		}
	})
}

// FuzzFrames: no bytes make the guard panic or grow, and without an error and
// a refusal all of them go on or are held.
func FuzzFrames(f *testing.F) {
	f.Add(frame(opText, call(1, "page@1", "close", "{}")))
	f.Add(join(frame(opFirst, `{"id":1,`), frame(opPing, "x"), frame(opLast, `"guid":"page@1","method":"close"}`)))
	rules := New(filter)
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &wire{}
		g := rules.Guard(w)
		if g.Feed(b) != nil || len(w.refused) > 0 || g.msg.refused != "" {
			return
		}
		if !bytes.Equal(append(w.forwarded, g.hold...), b) {
			t.Fatal("bytes are missing")
		}
	})
}
