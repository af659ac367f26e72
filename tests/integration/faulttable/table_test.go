package faulttable_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
)

func TestTableTellsTheWorst(t *testing.T) {
	r := &faulttable.Row{Fault: "it breaks"}
	r.Saw(faulttable.Noticed, "readiness after %s", 1210*time.Millisecond)
	r.Saw(faulttable.Noticed, "readiness after %s", 2201*time.Millisecond)
	r.Saw(faulttable.Noticed, "event after %s", 100*time.Millisecond)
	r.Saw(faulttable.Connected, "goes on", 0)
	r.Saw(faulttable.Recovered, "page after %s", 20*time.Second)
	require.Equal(t, 2201*time.Millisecond, r.Worst(faulttable.Noticed))
	least, most := r.Runs()
	require.Equal(t, []int{1, 2}, []int{least, most})

	table := faulttable.Markdown([]*faulttable.Row{r})
	require.Equal(t, `| fault | noticed within | a connected client | a new or waiting client | recovered within |
|---|---|---|---|---|
| it breaks | readiness after 2.3 s; event after 0.1 s | goes on | – | page after 20.0 s |
`, table)

	text, err := faulttable.Replace("a\n<!-- table: x -->\nold\n<!-- end -->\nb\n<!-- table: y -->\n<!-- end -->\n", "x", table)
	require.NoError(t, err)
	require.Equal(t, "a\n<!-- table: x -->\n"+table+"<!-- end -->\nb\n<!-- table: y -->\n<!-- end -->\n", text)
	_, err = faulttable.Replace("nothing", "x", table)
	require.ErrorContains(t, err, "<!-- table: x -->")
}
