package guard

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// smaller has all limits divided by that, so that the tests need not send a
// gigabyte.
const smaller = 256

func newSmallGuard() (*Guard, *wire) {
	r, w := New(filter), &wire{}
	for _, k := range r.kinds {
		for _, method := range k {
			if method.most != maxEngine {
				method.most /= smaller
			}
		}
	}
	return r.Guard(w), w
}

// A message that is more than the browser takes is refused by itself, before
// the server has any of it; what clients send at most passes.
func TestLargeMessages(t *testing.T) {
	for name, c := range map[string]struct {
		guid, method string
		bytes        int
		refused      bool
	}{
		"files of 50 MB":          {"frame@1", "setInputFiles", 67_000_000, false},
		"more":                    {"frame@1", "setContent", maxMessage, true},
		"a page of 90 MB":         {"frame@1", "setContent", 90 << 20, false},
		"an answer":               {"route@1", "fulfill", maxText, true},
		"storage":                 {"browser@1", "newContext", maxTwice, true},
		"storage of a usual size": {"browser@1", "newContext", maxTwice / 2, false},
		"later storage":           {"browser-context@1", "setStorageState", maxTwice, true},
		"storage of a page":       {"page@1", "webStorageSetItem", maxTwice, true},
		"headers":                 {"browser-context@1", "setExtraHTTPHeaders", maxOther, true},
		"headers of a page":       {"page@1", "setExtraHTTPHeaders", maxOther, true},
		"a binding":               {"page@1", "exposeBinding", maxOther, true},
		"a selector":              {"frame@1", "click", maxOther, true},
		"selector engine":         {"browser-context@1", "registerSelectorEngine", maxEngine * smaller, true},
		"a small engine":          {"browser-context@1", "registerSelectorEngine", maxEngine, false},
	} {
		t.Run(name, func(t *testing.T) {
			g, w := newSmallGuard()
			in := frame(opText, call(1, c.guid, c.method, `{"x":"`+strings.Repeat("x", c.bytes/smaller)+`"}`))
			for rest := in; len(rest) > 0; {
				n := min(len(rest), 64<<10)
				require.NoError(t, g.Feed(rest[:n]))
				rest = rest[n:]
			}
			if !c.refused {
				require.Len(t, w.forwarded, len(in))
				return
			}
			require.Empty(t, w.forwarded)
			require.Len(t, w.answers, 1)
			require.Contains(t, w.answers[0], "Send less at once")
		})
	}
}

// In fragments, of which nobody says before how many come, it ends the session:
// what has gone on cannot be taken back.
func TestALargeMessageInFragments(t *testing.T) {
	g, w := newSmallGuard()
	require.NoError(t, g.Feed(frame(opFirst, `{"id":1,"guid":"frame@1","method":"setContent","params":{"html":"`)))
	part := frame(opCont, strings.Repeat("x", maxMessage/smaller/4))
	for range 3 {
		require.NoError(t, g.Feed(part))
	}
	require.ErrorIs(t, g.Feed(part), ErrPolicy)
	require.Less(t, len(w.forwarded), maxMessage/smaller)
}

// The engines of a session add up, in whatever contexts they are.
func TestManySelectorEngines(t *testing.T) {
	g, w := newGuard(filter)
	engine := frame(opText, call(1, "browser-context@1", "registerSelectorEngine", `{"x":"`+strings.Repeat("x", maxEngine-200)+`"}`))
	for range maxEngines / maxEngine {
		require.NoError(t, g.Feed(engine))
	}
	require.Empty(t, w.answers)
	require.NoError(t, g.Feed(engine))
	require.NoError(t, g.Feed(engine))
	require.NotEmpty(t, w.answers)
}

// Names of calls that the protocol does not have would bound nothing.
func TestContentIsOfKnownCalls(t *testing.T) {
	for method := range content {
		require.Contains(t, protocol, "\n"+method+" ")
	}
}
