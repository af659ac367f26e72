package gate

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// said is what a server says of an object.
func said(guid, method string) string {
	return textFrame(fmt.Sprintf(`{"guid":%q,"method":%q,"params":{"add":"networkidle"}}`, guid, method), false)
}

// prepared are a context and a page in it as the gate has them.
func prepared() (context, page *advance) {
	context, page = newAdvance(openContext, browserGUID, options), newAdvance(openPage, contextGUID, "{}")
	context.made[contextGUID], page.made[pageGUID], page.made["frame@1"] = "BrowserContext", "Page", "Frame"
	context.before, page.before = []byte(said(browserGUID, "__create__")), []byte(said(contextGUID, "__create__"))
	context.result, page.result = []byte(`,"result":{}}`), []byte(`,"result":{}}`)
	context.said, page.said = 2, 2
	context.main, page.main = contextGUID, pageGUID
	return context, page
}

func TestAVeilHidesWhatTheClientDoesNotKnowOf(t *testing.T) { // I8
	fragmented := "\x01\x10" + `{"guid":"page@4e` + "\x80\x05" + `5f"}}`
	long := textFrame(`{"guid":"page@other","a":"`+strings.Repeat("x", 1000)+`"}`, false)
	huge := "\x81\x7f" + string(binary.BigEndian.AppendUint64(nil, 70000)) + `{"guid":"` + strings.Repeat("y", 70000-9)
	visible := []string{
		textFrame(`{"id":1,"result":{}}`, false), textFrame("", false), textFrame("{}", false), said("page@other", "loadstate"), long, huge, fragmented,
		"\x89\x04ping", textFrame(`{"guid":"`, false), textFrame(`{"guid":"page@4e5f`, false), "\x81\x84abcd1234", "\x82\x19" + `{"guid":"page@4e5f","a":1}`[:25],
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		context, page := prepared()
		v := newVeil([]*advance{context, page})
		var all, want, kept string
		for range 20 {
			if r.IntN(3) == 0 {
				m := said([]string{pageGUID, "frame@1"}[r.IntN(2)], "loadstate")
				all, kept = all+m, kept+m
			} else {
				m := visible[r.IntN(len(visible))]
				all, want = all+m, want+m
			}
		}
		var got strings.Builder
		for all != "" {
			n := min(1+r.IntN(200), len(all))
			got.Write(v.pass([]byte(all[:n])))
			all = all[n:]
		}
		require.True(t, v.between(), "seed %d", seed)
		require.Equal(t, want, got.String(), "seed %d", seed)
		require.Equal(t, kept, string(page.after), "seed %d", seed)
		require.False(t, page.spoilt)
		v.lift(page)
		require.False(t, v.void())
		v.lift(context)
		require.True(t, v.void())
		require.Equal(t, kept, string(v.pass([]byte(kept))), "the client knows of it")
	}
}

func TestAVeilCoversWhatItsObjectsMake(t *testing.T) {
	context, page := prepared()
	v := newVeil([]*advance{context, page})
	require.Empty(t, v.pass([]byte(textFrame(`{"guid":"page@4e5f","method":"__create__","params":{"type":"Worker","guid":"worker@1"}}`, false)+said("worker@1", "close"))))
	require.True(t, page.spoilt, "nothing that a new page does")
	require.False(t, context.spoilt)
}

func TestAVeilKeepsLittle(t *testing.T) {
	t.Run("of many messages", func(t *testing.T) {
		context, page := prepared()
		v := newVeil([]*advance{context, page})
		for range 10_000 {
			require.Empty(t, v.pass([]byte(said(pageGUID, "loadstate"))))
		}
		require.True(t, page.spoilt)
		require.LessOrEqual(t, len(page.after), maxAnswer)
	})
	t.Run("of a long one", func(t *testing.T) {
		context, page := prepared()
		v := newVeil([]*advance{context, page})
		const length = 1 << 30
		require.Empty(t, v.pass(append(binary.BigEndian.AppendUint64([]byte{0x81, 127}, length), `{"guid":"page@4e5f"`...)))
		for sent := 19; sent < length; {
			n := min(1<<16, length-sent)
			require.Empty(t, v.pass(make([]byte, n)))
			sent += n
			require.Less(t, len(v.text), maxAnswer+1<<17)
		}
		require.True(t, page.spoilt)
		require.Empty(t, page.after)
		require.Nil(t, v.text)
		require.True(t, v.between())
	})
}

// What the gate has closed for the client is gone with the answer to that.
func TestAVeilIsGoneWithWhatItHides(t *testing.T) {
	for _, step := range []int{1, 20, 1000} {
		_, page := prepared()
		v := newVeil([]*advance{page})
		gone := make(chan struct{})
		v.gone = gone
		feed := func(all string) (out string) {
			for all != "" {
				n := min(step, len(all))
				out += string(v.pass([]byte(all[:n])))
				all = all[n:]
			}
			return out
		}
		require.Equal(t, goesDown, feed(said(pageGUID, "close")+said(pageGUID, "__dispose__")+goesDown))
		select {
		case <-gone:
			t.Fatal("it is there still")
		default:
		}
		require.False(t, v.void())
		require.Equal(t, goesDown, feed(textFrame(`{"id":"gate"}`, false)+goesDown))
		<-gone
		require.True(t, v.void())
		require.Equal(t, textFrame(`{"id":"gate"}`, false), feed(textFrame(`{"id":"gate"}`, false)), "one of the client's")
	}
}

func TestAVeilStaysOverWhatDoesNotClose(t *testing.T) {
	_, page := prepared()
	v := newVeil([]*advance{page})
	gone := make(chan struct{})
	v.gone = gone
	require.Empty(t, v.pass([]byte(textFrame(`{"id":"gate","error":{"error":{"message":"no"}}}`, false))))
	<-gone
	require.Empty(t, v.pass([]byte(said(pageGUID, "loadstate"))))
}

func FuzzVeil(f *testing.F) {
	f.Add([]byte(said(pageGUID, "loadstate")+said("page@other", "close")), 3)
	f.Add([]byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd"), 1)
	f.Add([]byte("\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"), 7)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		pass := func(step int) (out []byte) {
			context, page := prepared()
			v := newVeil([]*advance{context, page})
			for rest := b; len(rest) > 0; {
				n := min(max(1, step), len(rest))
				out = append(out, v.pass(rest[:n])...)
				rest = rest[n:]
			}
			return out
		}
		require.Equal(t, pass(len(b)), pass(step))
	})
}
