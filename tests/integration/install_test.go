package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// machine is what install.sh sees of one: programs, and a playwright-core whose
// installer writes down what it is asked for.
type machine struct {
	t    *testing.T
	dir  string
	vars []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	for _, name := range []string{"bash", "cat", "cp", "dirname", "env", "flock", "grep", "head", "id", "mkdir", "mktemp", "node", "rm", "sed", "tail", "touch"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(m.path("bin"), 0o755))
		require.NoError(t, os.Symlink(path, m.path("bin", name)))
	}
	m.write("playwright/node_modules/playwright-core/browsers.json", `{"browsers": [
		{"name": "chromium", "revision": "11"}, {"name": "chromium-headless-shell", "revision": "11"}, {"name": "firefox", "revision": "22"}]}`)
	m.installer("process.exit(1)")
	return m
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.dir}, parts...)...)
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	require.NoError(m.t, os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	require.NoError(m.t, os.WriteFile(m.path(name), []byte(text), 0o755))
}

// program puts a shell script where programs are found.
func (m *machine) program(name, text string) { m.write("bin/"+name, "#!/bin/sh\n"+text+"\n") }

// installer is playwright-core's own, which notes its arguments before what it does.
func (m *machine) installer(js string) {
	m.write("playwright/node_modules/playwright-core/cli.js",
		`require('fs').writeFileSync(process.env.HOME + '/asked', process.argv.slice(2).join(' '));`+js)
}

// build is one of Playwright's browsers, whose installation came to its end.
func (m *machine) build(folder string) {
	m.write("cache/ms-playwright/"+folder+"/INSTALLATION_COMPLETE", "")
}

// apt is a Debian or Ubuntu with these versions of packages.
func (m *machine) apt(versions map[string]string) {
	m.program("dpkg", "exit 0")
	m.program("apt-get", "exit 0")
	m.program("sudo", `while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"`)
	policy := "case $2 in\n"
	for name, version := range versions {
		policy += name + ") echo '  Candidate: " + version + "' ;;\n"
	}
	m.program("apt-cache", policy+"esac")
}

// install runs install.sh and returns what it says.
func (m *machine) install(needs ...string) (said string, ok bool) {
	m.t.Helper()
	cmd := exec.Command(m.path("bin", "bash"), append([]string{filepath.Join(harness.Root(), "deploy/local/install.sh")}, needs...)...)
	cmd.Env = append([]string{"PATH=" + m.path("bin"), "HOME=" + m.dir, "XDG_CACHE_HOME=" + m.path("cache"), "PWDIST_PLAYWRIGHT__DIR=" + m.path("playwright")}, m.vars...)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// What a worker would not take, the installation does not either: else `make
// up` says that all is there, and its worker starts over and over.
func TestInstallTakesTheBrowsersThatAWorkerTakes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		builds, programs, vars []string
		ok                     bool
	}{
		"nothing":                        {},
		"the shell":                      {builds: []string{"chromium_headless_shell-11"}, ok: true},
		"the whole browser":              {builds: []string{"chromium-11"}, ok: true},
		"of another Playwright":          {builds: []string{"chromium_headless_shell-10", "chromium-12", "chromium-111"}},
		"another browser":                {builds: []string{"firefox-22"}},
		"of the system":                  {programs: []string{"google-chrome"}, ok: true},
		"the system's shell":             {programs: []string{"chromium-headless-shell"}, ok: true},
		"with a window":                  {builds: []string{"chromium_headless_shell-11"}, programs: []string{"chromium-headless-shell"}, vars: []string{"HEADLESS=false"}},
		"with a window, the whole":       {builds: []string{"chromium-11"}, vars: []string{"HEADLESS=false"}, ok: true},
		"with a window, said otherwise":  {programs: []string{"chromium-headless-shell"}, vars: []string{"HEADLESS=off"}},
		"with a window, by its own name": {programs: []string{"chromium-headless-shell"}, vars: []string{"PWDIST_BROWSER__HEADLESS=No", "HEADLESS=true"}},
		"without one":                    {programs: []string{"chromium-headless-shell"}, vars: []string{"HEADLESS=ON"}, ok: true},
		"elsewhere":                      {builds: []string{"chromium-11"}, vars: []string{"PLAYWRIGHT_BROWSERS_PATH=/nowhere"}},
		"one that the worker checks":     {vars: []string{"PWDIST_BROWSER__EXECUTABLE=/opt/chrome"}, ok: true},
		"a channel":                      {vars: []string{"PWDIST_BROWSER__CHANNEL=msedge"}, ok: true},
		"Firefox, which is the worker's": {vars: []string{"BROWSER_TYPE=firefox"}, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.vars = tt.vars
			for _, folder := range tt.builds {
				m.build(folder)
			}
			for _, name := range tt.programs {
				m.program(name, "exit 0")
			}
			said, ok := m.install("browser")
			require.Equal(t, tt.ok, ok, said)
			if !ok {
				require.Contains(t, said, "a Chromium: install")
				require.Equal(t, strings.HasPrefix(name, "with a window"), strings.Contains(said, "apt-get install chromium)"), "the shell has no window: %s", said)
			}
		})
	}
	t.Run("half installed", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		m.write("cache/ms-playwright/chromium_headless_shell-11/chrome-headless-shell", "")
		said, ok := m.install("browser")
		require.False(t, ok, said)
	})
}

// Ubuntu's chromium is of no use in a container, so Playwright's own is taken.
func TestInstallOfPlaywrightsOwnBrowser(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.apt(map[string]string{"chromium": "2:1snap1-0ubuntu2", "chromium-headless-shell": "(none)"})
	said, ok := m.install("browser")
	require.False(t, ok, said)
	require.Contains(t, said, "which failed just now")
	require.Contains(t, said, "PWDIST_BROWSER__EXECUTABLE")

	m.installer(`const folder = process.env.XDG_CACHE_HOME + '/ms-playwright/chromium_headless_shell-11/';
		require('fs').mkdirSync(folder, { recursive: true }); require('fs').writeFileSync(folder + 'INSTALLATION_COMPLETE', '');`)
	said, ok = m.install("browser")
	require.True(t, ok, said)
	asked, err := os.ReadFile(m.path("asked"))
	require.NoError(t, err)
	require.Equal(t, "install --with-deps --no-remove --no-progress --only-shell chromium", string(asked))
}

func TestInstallAsksForARedisThatIsNewEnough(t *testing.T) {
	t.Parallel()
	redis := func(version string) string {
		return "echo 'Redis server v=" + version + " sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1'"
	}
	for version, want := range map[string]bool{"6.0.16": false, "7.0.15": true, "10.0.0": true} {
		m := newMachine(t)
		m.program("redis-server", redis(version))
		said, ok := m.install("redis")
		require.Equal(t, want, ok, said)
		if !want {
			require.Contains(t, said, "redis-server 7.0 or later (found "+version+")")
			require.Contains(t, said, "set REDIS_URL")
		}
	}

	m := newMachine(t)
	m.apt(map[string]string{"redis-server": "5:6.0.16-1ubuntu1"})
	said, ok := m.install("redis")
	require.False(t, ok, said)
	require.NotContains(t, said, "apt-get install redis-server\n", "it would be too old")

	m.apt(map[string]string{"redis-server": "5:7.0.15-1"})
	m.program("apt-get", `printf '%s\n' '#!/bin/sh' "`+redis("7.0.15")+`" >"`+m.path("bin/redis-server")+`"; `+"/bin/chmod +x "+m.path("bin/redis-server"))
	said, ok = m.install("redis")
	require.True(t, ok, said)
	require.Contains(t, said, "apt-get install redis-server\n")
}
