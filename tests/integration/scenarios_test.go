package integration_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// What ordinary scripts do gives through the pool, with its guard on, what it
// gives with a server of the same playwright-core, browser and arguments that
// the client reaches directly.
func TestScriptsRunAsWithoutThePool(t *testing.T) {
	ffmpeg := harness.Ffmpeg(t)
	p := harness.New(t, harness.Options{Workers: 1, Worker: harness.Settings{"browser.ffmpeg": ffmpeg}})
	direct := launchServer(t, p, ffmpeg)
	for name, client := range map[string][]string{
		"node":   {"node", filepath.Join(harness.NodeDir(), "scenarios.mjs")},
		"python": {filepath.Join(harness.Root(), ".tools/python/bin/python"), filepath.Join(harness.NodeDir(), "../python/scenarios.py")},
	} {
		t.Run(name, func(t *testing.T) {
			pool, plain := runScenarios(t, client, p.URL("name="+name)), runScenarios(t, client, direct)
			got, want := pool(), plain()
			require.Len(t, got, len(want))
			for scenario, line := range want {
				t.Run(scenario, func(t *testing.T) {
					require.Empty(t, line.Error, "without the pool")
					require.Empty(t, got[scenario].Error)
					require.JSONEq(t, string(line.Value), string(got[scenario].Value), "with the pool it is another value")
				})
			}
		})
	}
}

type scenario struct {
	Name, Error string
	Value       json.RawMessage
}

// runScenarios starts a client; what it returns waits for its end.
func runScenarios(t *testing.T, client []string, url string) func() map[string]scenario {
	t.Helper()
	c := exec.CommandContext(t.Context(), client[0], append(client[1:len(client):len(client)], url)...)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	type result struct {
		lines map[string]scenario
		last  string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		r := result{lines: map[string]scenario{}}
		in := json.NewDecoder(out)
		for r.last != "end" {
			var line scenario
			if r.err = in.Decode(&line); r.err != nil {
				break
			}
			r.lines[line.Name], r.last = line, line.Name
		}
		delete(r.lines, "end")
		if err := c.Wait(); r.err == nil {
			r.err = err
		}
		done <- r
	}()
	return func() map[string]scenario {
		r := <-done
		require.NoError(t, r.err, "after %q", r.last)
		require.Greater(t, len(r.lines), 5)
		return r.lines
	}
}

// launchServer runs a Playwright server of its own with the browser and the
// arguments of the pool's first worker, and this ffmpeg; it returns its address.
func launchServer(t *testing.T, p *harness.Pool, ffmpeg string) string {
	t.Helper()
	worker := browserCommand(t, p.Workers[0].Process().PID())
	config, err := json.Marshal(map[string]any{
		"executablePath": worker[0], "args": p.Pages.BrowserArgs(), "chromiumSandbox": !slices.Contains(worker, "--no-sandbox"), "host": "127.0.0.1",
	})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "launch.json")
	require.NoError(t, os.WriteFile(path, config, 0o600))

	cli := filepath.Join(harness.PlaywrightDir(), "node_modules/playwright-core/cli.js")
	c := exec.CommandContext(t.Context(), "node", cli, "launch-server", "--browser", "chromium", "--config", path)
	c.Env = append(os.Environ(), "PLAYWRIGHT_BROWSERS_PATH="+ffmpegFor(t, ffmpeg))
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it closes its browser
		_ = c.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, worker, browserCommand(t, c.Process.Pid), "the two browsers differ")
	return strings.TrimSpace(address)
}

// ffmpegFor makes a folder in which Playwright finds this ffmpeg as its own.
func ffmpegFor(t *testing.T, ffmpeg string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(harness.PlaywrightDir(), "node_modules/playwright-core/browsers.json"))
	require.NoError(t, err)
	revision := regexp.MustCompile(`"ffmpeg",\s*"revision": "(\d+)"`).FindSubmatch(b)
	require.NotNil(t, revision)
	folder := t.TempDir()
	place := filepath.Join(folder, "ffmpeg-"+string(revision[1]))
	require.NoError(t, os.Mkdir(place, 0o755))
	require.NoError(t, os.Symlink(ffmpeg, filepath.Join(place, "ffmpeg-linux")))
	return folder
}

// browserCommand is the command line of the Chromium that a process has
// started, without what is different for each.
func browserCommand(t *testing.T, pid int) []string {
	t.Helper()
	var command []string
	for _, process := range harness.Descendants(pid) {
		if strings.Contains(process.Command, "--remote-debugging-pipe") {
			command = slices.DeleteFunc(strings.Fields(process.Command), func(arg string) bool { return strings.HasPrefix(arg, "--user-data-dir=") })
		}
	}
	require.NotEmpty(t, command, "there is no Chromium")
	return command
}
