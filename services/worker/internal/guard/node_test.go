package guard

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// asTheServer reads messages as the Playwright server does.
const asTheServer = `
let out = '';
for (const line of require('fs').readFileSync(0, 'utf8').split('\n')) {
	let got = { ok: false };
	try {
		const { guid, method } = JSON.parse(Buffer.from(line, 'base64').toString());
		got = { ok: true, guid: String(guid), method: String(method) };
	} catch {}
	out += JSON.stringify(got) + '\n';
}
process.stdout.write(out);`

// TestServerReadsWhatTheGuardLetThrough compares with Node's own JSON.parse,
// for messages with all kinds of damage: what passes is the call that the
// guard has judged.
func TestServerReadsWhatTheGuardLetThrough(t *testing.T) {
	seeds := []string{
		call(1, "page@1", "close", `{"a":[1,-2.5e+7,true,null,"\ud83d\ude00\u0041"],"b":{}}`),
		call(2, "browser@1", "close", `{"reason":"x"}`),
		`{"id":"a@1","gu\u0069d":"page@1","\u006dethod":"close","__proto__":{"method":"killForTests"},"params":{}}`,
		`{"metadata":{"method":"killForTests"},"guid":"browser@1","method":"close","id":3,"params":{"method":"killForTests"}}`,
	}
	pieces := []string{`"`, `\`, `,`, `:`, `{`, `}`, `[`, `]`, "\xff", "\ufeff", `\u0000`, `\ud800`, `0`, `e`, `-`, " ", "\n", "\x00",
		`"method":"killForTests",`, `"guid":"browser@1",`, `"__proto__":1,`, `\u0022`, `null`}
	rnd := rand.New(rand.NewPCG(1, 2))
	var texts [][]byte
	for range 40_000 {
		text := []byte(seeds[rnd.IntN(len(seeds))])
		for range rnd.IntN(4) {
			at, piece := rnd.IntN(len(text)+1), pieces[rnd.IntN(len(pieces))]
			end := min(len(text), at+rnd.IntN(3)*rnd.IntN(12))
			text = bytes.Join([][]byte{text[:at], []byte(piece), text[end:]}, nil)
		}
		texts = append(texts, text)
	}
	var in bytes.Buffer
	for i, text := range texts {
		if i > 0 {
			in.WriteByte('\n')
		}
		in.WriteString(base64.StdEncoding.EncodeToString(text))
	}
	node := exec.CommandContext(t.Context(), "node", "-e", asTheServer)
	node.Stdin = &in
	out, err := node.Output()
	require.NoError(t, err)
	answers := json.NewDecoder(bytes.NewReader(out))

	rules, passed := New(filter), 0
	for _, text := range texts {
		var server struct {
			OK           bool
			GUID, Method string
		}
		require.NoError(t, answers.Decode(&server))
		w := &wire{}
		g := rules.Guard(w)
		if g.Feed(frame(opText, string(text))) != nil || len(w.refused) > 0 {
			continue
		}
		passed++
		require.True(t, server.OK, "%q", text)
		prefix, _, _ := bytes.Cut([]byte(server.GUID), []byte("@"))
		rule := rules.kinds[string(prefix)][server.Method]
		require.True(t, rule != nil && rule.refuse == "" && rule == g.msg.rule, "%q: the server calls %s of %s", text, server.Method, server.GUID)
	}
	require.Greater(t, passed, 5000)
}
