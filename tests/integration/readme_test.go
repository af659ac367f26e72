package integration_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The samples of the README, exactly as they stand there, against a pool with
// the default settings at the address that they name. The public name in them
// is mapped to a page that the test serves.
func TestReadmeSamples(t *testing.T) {
	harness.NeedBrowser(t)
	const address = "localhost:8080"
	if harness.Listens(address) {
		t.Fatalf("something serves at %s already; the samples name that address, so stop it for this test", address)
	}
	p := harness.New(t, harness.Options{Workers: 1, Proxy: harness.Settings{"listen": ":8080"}})

	t.Run("node", func(t *testing.T) {
		dir := nodeProject(t)
		write(t, dir, "sample.mjs", sample(t, "node"))
		require.Equal(t, harness.ExampleTitle+"\n", runIn(t, dir, "node", "sample.mjs"))
	})
	t.Run("python", func(t *testing.T) {
		python := filepath.Join(harness.Root(), ".tools/python/bin/python")
		require.FileExists(t, python, "the Python client is not installed: run make install-test")
		dir := t.TempDir()
		write(t, dir, "sample.py", sample(t, "python"))
		require.Equal(t, harness.ExampleTitle+"\n", runIn(t, dir, python, "sample.py"))
	})
	t.Run("playwright-test", func(t *testing.T) {
		dir := nodeProject(t)
		write(t, dir, "playwright.config.ts", sample(t, "playwright-test"))
		write(t, dir, "page.spec.js", `
import { test, expect } from '@playwright/test';
for (const n of [1, 2, 3]) {
  test('page ' + n, async ({ page }) => {
    await page.goto('https://example.com');
    await expect(page).toHaveTitle('`+harness.ExampleTitle+`');
  });
}
`)
		out := runIn(t, dir, "node", "node_modules/@playwright/test/cli.js", "test", "--reporter=line", "--workers=2")
		require.Contains(t, out, "3 passed")
	})
	require.GreaterOrEqual(t, p.Log.Count(event.SessionStarted), 3)
}

// sample is the fenced block behind <!-- sample: name --> in the README.
func sample(t *testing.T, name string) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(harness.Root(), "README.md"))
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- sample: " + regexp.QuoteMeta(name) + " -->\\s*```[a-z]+\n(.*?)\n```").FindSubmatch(readme)
	require.NotNil(t, block, "the README has no block behind <!-- sample: %s -->", name)
	return string(block[1]) + "\n"
}

// nodeProject is a folder in which the stock Node clients are installed.
func nodeProject(t *testing.T) string {
	t.Helper()
	modules := filepath.Join(harness.NodeDir(), "node_modules")
	require.DirExists(t, modules, "the Node clients are not installed: run make install-test")
	dir := t.TempDir()
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	write(t, dir, "package.json", `{"type": "module"}`)
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

// runIn runs a program that must succeed and returns what it printed.
func runIn(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	p := harness.Start(t, t.TempDir(), harness.Command{Name: filepath.Base(program), Path: program, Args: args, Dir: dir})
	t.Cleanup(p.Kill)
	require.Zero(t, p.ExitCode(t, 2*harness.Patience), "%s %s", program, strings.Join(args, " "))
	return p.Output()
}
