package faulttable_test

import (
	"encoding/json"
	"errors"
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

// run plays the row once. Only what a whole run has seen counts.
func (r *row) run(t *testing.T) {
	s := newScene(t, r)
	r.play(s)
	if t.Failed() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, saw := range s.seen {
		r.Saw(saw.column, saw.text, saw.took)
	}
}

// Groups are the tables of docs/faults.md.
var groups = []struct {
	name string
	rows []*row
}{
	{"workers", workerRows},
	{"browsers", browserRows},
	{"proxies", proxyRows},
	{"redis", append(redisRows, fullRow)},
	{"links", linkRows},
}

// TestFaults plays every row several times and prints the tables, with the
// worst of each; with PWDIST_FAULTS=write it puts them into docs/faults.md.
// PWDIST_FAULTS_RUNS says how often (3). What earlier calls saw, which is in the
// file that PWDIST_FAULTS_SEEN names, counts as well.
func TestFaults(t *testing.T) {
	what := os.Getenv("PWDIST_FAULTS")
	if what == "" {
		t.Skip("takes ten minutes: run make faults")
	}
	harness.NeedBrowser(t)
	runs := 3
	if text := os.Getenv("PWDIST_FAULTS_RUNS"); text != "" {
		var err error
		runs, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	seen := os.Getenv("PWDIST_FAULTS_SEEN")
	recall(t, seen)
	whole := t.Run("row", func(t *testing.T) {
		for _, g := range groups {
			for _, r := range g.rows {
				for run := range runs {
					t.Run(r.name+"/"+strconv.Itoa(run+1), func(t *testing.T) {
						t.Parallel()
						r.run(t)
					})
				}
			}
		}
	})
	keep(t, seen)
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

// recall reads what earlier calls saw.
func recall(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if file == "" || errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	earlier := map[string]faulttable.Row{}
	require.NoError(t, json.Unmarshal(text, &earlier))
	for _, g := range groups {
		for _, r := range g.rows {
			r.Marks = earlier[r.name].Marks
		}
	}
}

// keep writes what was seen for later calls.
func keep(t *testing.T, file string) {
	t.Helper()
	if file == "" {
		return
	}
	all := map[string]faulttable.Row{}
	for _, g := range groups {
		for _, r := range g.rows {
			all[r.name] = r.Row
		}
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, text, 0o600))
}
