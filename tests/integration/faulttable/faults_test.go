package faulttable_test

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/faulttable"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// row is one fault and how it is played.
type row struct {
	faulttable.Row

	name string
	cast cast
	// limits are what the product promises; a row that is slower fails.
	limits map[faulttable.Column]time.Duration
	play   func(*scene)

	mu sync.Mutex // runs are parallel
}

func (r *row) saw(c faulttable.Column, text string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Saw(c, text, took)
}

// Groups are the tables of docs/faults.md.
var groups = []struct {
	name string
	rows []*row
}{
	{"workers", workerRows},
	{"browsers", browserRows},
	{"proxies", proxyRows},
	{"redis", redisRows},
	{"links", linkRows},
}

// TestFaults plays every row several times and prints the tables, with the
// worst of each; with PWDIST_FAULTS=write it puts them into docs/faults.md.
// PWDIST_FAULTS_RUNS says how often (3).
func TestFaults(t *testing.T) {
	what := os.Getenv("PWDIST_FAULTS")
	if what == "" {
		t.Skip("takes a quarter of an hour: run make faults")
	}
	harness.NeedBrowser(t)
	runs := 3
	if text := os.Getenv("PWDIST_FAULTS_RUNS"); text != "" {
		var err error
		runs, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	whole := t.Run("row", func(t *testing.T) {
		for _, g := range groups {
			for _, r := range g.rows {
				for run := range runs {
					t.Run(r.name+"/"+strconv.Itoa(run+1), func(t *testing.T) {
						t.Parallel()
						r.play(newScene(t, r))
					})
				}
			}
		}
	})
	path := filepath.Join(harness.Root(), "docs", "faults.md")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	document := string(text)
	for _, g := range groups {
		var rows []*faulttable.Row
		for _, r := range g.rows {
			if least, most := r.Runs(); most == 0 {
				continue // -run named others
			} else if least != most {
				t.Logf("%s: not all runs went alike: some observations were made %d times, others %d times", r.name, least, most)
			}
			rows = append(rows, &r.Row)
			for c, limit := range r.limits {
				assert.LessOrEqual(t, r.Worst(c), limit, "%s: %s", r.name, c)
			}
		}
		table := faulttable.Markdown(rows)
		t.Logf("%s\n\n%s", g.name, table)
		if len(rows) < len(g.rows) {
			continue // -run named some: the others are still as they were
		}
		document, err = faulttable.Replace(document, g.name, table)
		require.NoError(t, err)
	}
	if what == "write" {
		require.True(t, whole, "a row failed: the document stays as it is")
		require.NoError(t, os.WriteFile(path, []byte(document), 0o600))
	}
}
