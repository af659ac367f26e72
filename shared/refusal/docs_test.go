package refusal_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

var update = flag.Bool("update", false, "write the table in docs/refusals.md anew")

const docsPath = "../../docs/refusals.md"

func TestDocsAreCurrent(t *testing.T) {
	data, err := os.ReadFile(docsPath)
	require.NoError(t, err)
	const begin, end = "<!-- generated: refusals -->\n", "<!-- end: refusals -->\n"
	head, rest, ok := strings.Cut(string(data), begin)
	require.True(t, ok, "no %q in %s", begin, docsPath)
	_, tail, ok := strings.Cut(rest, end)
	require.True(t, ok, "no %q in %s", end, docsPath)
	want := head + begin + "\n" + docsTable(t) + "\n" + end + tail
	if *update {
		require.NoError(t, os.WriteFile(docsPath, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(data), "%s is stale: run go test ./refusal -update in shared", docsPath)
	example := refusal.Refusal{Code: refusal.QueueFull}
	require.Contains(t, head, "```\n"+example.Text()+"\n```", "the example is not what clients read")
}

func docsTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| code | status | `Retry-After` | what the client reads | what to do |\n|---|---|---|---|---|\n")
	for _, r := range refusal.All() {
		after := "none"
		if r.Retryable {
			after = fmt.Sprintf("%.0f s", r.RetryAfter.Seconds())
		}
		for _, text := range []string{r.What, r.Remedy} {
			require.NotContains(t, text, "|", "it would end the column")
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s |\n", r.Code, r.Status, after, r.What, r.Remedy)
	}
	return b.String()
}
