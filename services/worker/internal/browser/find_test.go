package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakePlaywright is a playwright-core that says what it was made for, and a
// registry with the named builds.
func fakePlaywright(t *testing.T, builds ...string) (playwright, []string) {
	t.Helper()
	dir := t.TempDir()
	core := filepath.Join(dir, "node_modules", "playwright-core")
	write(t, filepath.Join(core, "cli.js"), "")
	write(t, filepath.Join(core, "package.json"), `{"version":"1.65.1"}`)
	write(t, filepath.Join(core, "browsers.json"), `{"browsers":[
		{"name":"chromium","revision":"11"},{"name":"chromium-headless-shell","revision":"11"},
		{"name":"firefox","revision":"22"},{"name":"webkit","revision":"33","revisionOverrides":{"debian11-x64":"30"}},
		{"name":"ffmpeg","revision":"44","revisionOverrides":{"mac12":"40"}}]}`)
	registry := filepath.Join(dir, "registry")
	for _, b := range builds {
		write(t, filepath.Join(registry, b, "INSTALLATION_COMPLETE"), "")
	}
	pw, err := findPlaywright(dir)
	require.NoError(t, err)
	require.Equal(t, "1.65.1", pw.version)
	return pw, []string{"PLAYWRIGHT_BROWSERS_PATH=" + registry}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
}

func TestTheBestBrowserThereIs(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		builds  []string // Playwright's own
		system  []string // on PATH
		want    launch   // an executable by its name alone
		err     string
	}{
		"own headless shell first": {
			options: Options{Type: Chromium, Headless: true},
			builds:  []string{"chromium_headless_shell-11", "chromium-11"}, system: []string{"chromium-headless-shell"},
			want: launch{},
		},
		"own whole browser without a shell": {
			options: Options{Type: Chromium, Headless: true}, builds: []string{"chromium-11"}, system: []string{"chromium-headless-shell"},
			want: launch{channel: "chromium"},
		},
		"a build of another revision does not count": {
			options: Options{Type: Chromium, Headless: true}, builds: []string{"chromium_headless_shell-10"}, system: []string{"chromium-headless-shell"},
			want: launch{executable: "chromium-headless-shell"},
		},
		"shell before browser": {
			options: Options{Type: Chromium, Headless: true}, system: []string{"google-chrome", "chromium", "chromium-headless-shell"},
			want: launch{executable: "chromium-headless-shell"},
		},
		"browser where there is no shell": {
			options: Options{Type: Chromium, Headless: true}, system: []string{"google-chrome", "chromium"},
			want: launch{executable: "chromium"},
		},
		"no shell for a window": {
			options: Options{Type: Chromium}, builds: []string{"chromium_headless_shell-11"}, system: []string{"google-chrome", "chromium-headless-shell"},
			want: launch{executable: "google-chrome"},
		},
		"own browser for a window": {
			options: Options{Type: Chromium}, builds: []string{"chromium-11"}, system: []string{"chromium"},
			want: launch{},
		},
		"what is set": {
			options: Options{Type: Chromium, Headless: true, Executable: "my-chrome"}, builds: []string{"chromium_headless_shell-11"}, system: []string{"my-chrome"},
			want: launch{executable: "my-chrome"},
		},
		"what is set and is not there": {
			options: Options{Type: Chromium, Headless: true, Executable: "/nowhere/chrome"}, builds: []string{"chromium_headless_shell-11"},
			err: "browser.executable: there is no program /nowhere/chrome",
		},
		"a channel": {
			options: Options{Type: Chromium, Headless: true, Channel: "chrome"}, builds: []string{"chromium_headless_shell-11"},
			want: launch{channel: "chrome"},
		},
		"own Firefox": {
			options: Options{Type: Firefox, Headless: true}, builds: []string{"firefox-22"}, system: []string{"firefox-esr"},
			want: launch{},
		},
		"another Firefox needs a channel": {
			options: Options{Type: Firefox, Headless: true}, system: []string{"firefox-esr"},
			want: launch{executable: "firefox-esr", channel: "moz-firefox"},
		},
		"own WebKit for an old system": {
			options: Options{Type: WebKit, Headless: true}, builds: []string{"webkit-30"},
			want: launch{},
		},
		"no Chromium": {
			options: Options{Type: Chromium, Headless: true}, system: []string{"firefox-esr"},
			err: "found no Chromium: install one (Debian: apt-get install chromium-headless-shell; elsewhere: ",
		},
		"no Chromium with a window": {
			options: Options{Type: Chromium}, system: []string{"chromium-headless-shell"},
			err: "found no Chromium: install one (Debian: apt-get install chromium; elsewhere: ",
		},
		"no WebKit": {
			options: Options{Type: WebKit, Headless: true}, system: []string{"chromium"},
			err: "found no webkit: install it (node ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pw, environ := fakePlaywright(t, c.builds...)
			path := t.TempDir()
			for _, program := range c.system {
				write(t, filepath.Join(path, program), "#!/bin/sh\n")
			}
			t.Setenv("PATH", path)
			c.options.Environ = environ
			got, err := findBrowser(c.options, pw)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.NotContains(t, err.Error(), "\n")
				return
			}
			require.NoError(t, err)
			if got.executable != "" {
				got.executable = filepath.Base(got.executable)
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	empty := t.TempDir()
	_, err := findPlaywright(empty)
	require.ErrorContains(t, err, "there is no node_modules/playwright-core in "+empty+` (playwright.dir): run "npm ci" there`)

	t.Chdir(empty)
	_, err = findPlaywright("")
	require.ErrorContains(t, err, `run "npm ci" in services/worker/playwright, or set playwright.dir`)

	_, err = findNode("no-such-node")
	require.ErrorContains(t, err, "there is no program no-such-node: install Node.js 20 or later, or set playwright.node")

	old := filepath.Join(empty, "node")
	write(t, old, "#!/bin/sh\necho v18.19.0\n")
	_, err = findNode(old)
	require.ErrorContains(t, err, "is version v18.19.0; playwright-core needs Node.js 20 or later")
}

func TestABrokenPackageIsNotTakenForAMissingOne(t *testing.T) {
	dir := t.TempDir()
	core := filepath.Join(dir, "node_modules", "playwright-core")
	write(t, filepath.Join(core, "cli.js"), "")
	write(t, filepath.Join(core, "package.json"), "{")
	_, err := findPlaywright(dir)
	require.ErrorContains(t, err, "playwright-core/package.json: unexpected end of JSON input")
}
