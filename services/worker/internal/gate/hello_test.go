package gate

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// initialize is what a stock client says first.
func initialize(id, params string) string {
	return textFrame(fmt.Sprintf(`{"id":%s,"guid":"","method":"initialize","params":%s,"metadata":{"internal":true,"timeout":0}}`, id, params), true)
}

const (
	javascript = `{"sdkLanguage":"javascript","supportsLoneSurrogates":true}`
	python     = `{"sdkLanguage":"python"}`
)

func TestAHelloIsHeard(t *testing.T) {
	good := initialize(`"abcd@7"`, javascript)
	other := func(text string) string { return textFrame(text, true) }
	for name, c := range map[string]struct {
		said string
		want hello
		id   string
	}{
		"with a name":         {good, javascript, `"abcd@7"`},
		"with a number":       {initialize("12", python), python, "12"},
		"in another order":    {other(`{"method":"initialize","metadata":{},"params":{"a":1},"guid":"","id":1}`), `{"a":1}`, "1"},
		"of another object":   {said: other(`{"id":1,"guid":"browser@1","method":"initialize","params":{},"metadata":{}}`)},
		"of no object":        {said: other(`{"id":1,"method":"initialize","params":{},"metadata":{}}`)},
		"another call":        {said: other(`{"id":1,"guid":"","method":"other","params":{},"metadata":{}}`)},
		"with more":           {said: other(`{"id":1,"guid":"","method":"initialize","params":{},"metadata":{},"more":1}`)},
		"without an id":       {said: other(`{"guid":"","method":"initialize","params":{},"metadata":{}}`)},
		"with an empty id":    {said: initialize(`""`, python)},
		"with a strange id":   {said: initialize(`"a\"b"`, python)},
		"with a negative id":  {said: initialize(`-1`, python)},
		"with a listed id":    {said: initialize(`[1]`, python)},
		"no JSON":             {said: other(`hello`)},
		"too long":            {said: initialize("1", `{"a":"`+strings.Repeat("x", maxHello)+`"}`)},
		"far too long":        {said: string(frame(bytes.Repeat([]byte("x"), 1<<17), true))},
		"unmasked":            {said: textFrame(`{"id":1,"guid":"","method":"initialize","params":{}}`, false)},
		"a ping":              {said: "\x89\x80abcd"},
		"a close":             {said: "\x88\x80abcd"},
		"a part of a message": {said: "\x01" + good[1:]},
		"compressed":          {said: "\xc1" + good[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			said, id, size := parseHello([]byte(c.said + "more"))
			require.Equal(t, c.want, said)
			require.Equal(t, c.id, string(id))
			require.Positive(t, size)
			if c.want != "" {
				require.Equal(t, len(c.said), size)
				for i := range c.said {
					said, _, size := parseHello([]byte(c.said[:i]))
					require.Zero(t, size, "whole after %d bytes", i)
					require.Empty(t, said)
				}
			}
			for _, step := range []int{1, 7, 100, len(c.said) + 4} {
				var e ear
				for rest := c.said + "more"; rest != ""; {
					n := min(step, len(rest))
					e.hear([]byte(rest[:n]))
					rest = rest[n:]
				}
				require.Equal(t, c.want, e.said, "by %d bytes", step)
				require.True(t, e.deaf)
				require.Nil(t, e.heard, "nothing is kept")
			}
		})
	}
}

func FuzzHello(f *testing.F) {
	f.Add([]byte(initialize("1", javascript)))
	f.Add([]byte(initialize(`"a@1"`, python)))
	f.Add([]byte("\x81\xfe\x04\x01abcd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		said, id, size := parseHello(b)
		if size == 0 {
			require.Empty(t, said)
			require.Less(t, len(b), maxHello, "decided by then")
			return
		}
		require.LessOrEqual(t, size, len(b))
		if said == "" {
			return
		}
		require.True(t, isID(id))
		// The gate's own words are such a message again.
		again, _, whole := parseHello(said.frame())
		if whole <= maxHello {
			require.Equal(t, said, again)
		}
	})
}

const (
	created = `{"guid":"","method":"__create__","params":{"type":"Playwright","initializer":{},"guid":"playwright"}}`
	result  = `,"result":{"playwright":{"guid":"playwright"}}}`
)

// welcomeTo is what a server says to a hello with that id.
func welcomeTo(id string) string {
	return textFrame(created, false) + textFrame(created, false) + textFrame(`{"id":`+id+result, false)
}

func TestAWelcomeIsReadWhole(t *testing.T) {
	in := bufio.NewReader(strings.NewReader(welcomeTo("1") + "more"))
	w, err := readWelcome(javascript, in)
	require.NoError(t, err)
	require.Equal(t, 4, in.Buffered())
	for _, id := range []string{"1", `"abcd@7"`, `"` + strings.Repeat("x", 200) + `"`} {
		require.Equal(t, welcomeTo(id), string(w.answer([]byte(id))))
	}
}

func TestAWelcomeThatIsNone(t *testing.T) {
	long := textFrame(`{"guid":"","method":"`+strings.Repeat("x", 1000)+`"}`, false)
	for name, said := range map[string]string{
		"an error":          textFrame(`{"id":1,"error":{}}`, false),
		"of another call":   textFrame(`{"id":12`+result, false),
		"nothing":           "",
		"half of it":        welcomeTo("1")[:200],
		"a close":           "\x88\x00",
		"a part":            "\x01\x02{}",
		"compressed":        "\xc1" + welcomeTo("1")[1:],
		"masked":            textFrame(`{"id":1`+result, true),
		"without an end":    strings.Repeat(long, 100),
		"a message too big": "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 1<<16),
		"a long result":     textFrame(`{"id":1,"result":{"a":"`+strings.Repeat("x", maxWelcome)+`"}}`, false),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readWelcome(javascript, bufio.NewReader(strings.NewReader(said)))
			require.Error(t, err)
		})
	}
}
