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

// What is wrong with a setting is said in one clear line, and the process ends
// with a status that is not 0.
func TestWrongSettings(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{})
	redis := "--redis.url=" + p.Redis.URL
	busy := p.Redis.Address
	noBrowsers := "PLAYWRIGHT_BROWSERS_PATH=" + t.TempDir()
	nodeOnly := "PATH=" + onlyNode(t)
	playwright := "--playwright.dir=" + harness.PlaywrightDir()

	for name, test := range map[string]struct {
		program string
		args    []string
		env     []string
		want    []string
	}{
		"unknown flag":           {program: "pwdist-proxy", args: []string{"--redis.ulr=redis://127.0.0.1:1"}, want: []string{"redis.ulr", "redis.url"}},
		"not a duration":         {program: "pwdist-proxy", args: []string{"--queue.wait=soon"}, want: []string{"queue.wait", "soon"}},
		"not a number":           {program: "pwdist-worker", env: []string{"PWDIST_SLOTS=many"}, want: []string{"PWDIST_SLOTS", "many"}},
		"no slots":               {program: "pwdist-worker", args: []string{"--slots=0"}, want: []string{"slots"}},
		"unknown browser":        {program: "pwdist-worker", env: []string{"BROWSER_TYPE=netscape"}, want: []string{"netscape", "chromium"}},
		"lease below heartbeat":  {program: "pwdist-proxy", args: []string{"--timing.process_lease=1s"}, want: []string{"timing.process_lease", "timing.heartbeat"}},
		"pool name":              {program: "pwdist-worker", args: []string{"--pool=A B"}, want: []string{"pool", "A B"}},
		"not a Redis URL":        {program: "pwdist-proxy", args: []string{"--redis.url=http://127.0.0.1:1"}, want: []string{"redis.url", "redis://"}},
		"no such file":           {program: "pwdist-proxy", args: []string{"--config=/nothing/here.yaml"}, want: []string{"/nothing/here.yaml"}},
		"busy admin port":        {program: "pwdist-proxy", args: []string{redis, "--admin.listen=" + busy}, want: []string{busy, "in use"}},
		"browser is not there":   {program: "pwdist-worker", args: []string{redis, playwright, "--admin.listen=", "--listen=127.0.0.1:0", "--browser.executable=/nothing/chrome"}, want: []string{"/nothing/chrome"}},
		"no browser anywhere":    {program: "pwdist-worker", args: []string{redis, playwright, "--admin.listen=", "--listen=127.0.0.1:0"}, env: []string{nodeOnly, noBrowsers}, want: []string{"chromium", "browser.executable"}},
		"playwright is not here": {program: "pwdist-worker", args: []string{redis, "--admin.listen=", "--listen=127.0.0.1:0", "--playwright.dir=/nothing"}, want: []string{"/nothing", "playwright"}},
		"password not wanted":    {program: "pwdist-worker", args: []string{playwright, "--admin.listen=", "--listen=127.0.0.1:0"}, env: []string{"REDIS_URL=redis://user:sesame@" + p.Redis.Address}, want: []string{"password", p.Redis.Address}},
	} {
		t.Run(name, func(t *testing.T) {
			run := harness.Start(t, t.TempDir(), harness.Command{
				Name: test.program, Path: harness.Binary(t, test.program), Args: append(test.args, "--log.format=console"), Env: test.env,
			})
			t.Cleanup(run.Kill)
			require.NotZero(t, run.ExitCode(t, harness.Patience))
			said := run.Output()
			require.NotContains(t, said, "sesame")
			var complaints []string
			for line := range strings.Lines(said) {
				if strings.Contains(line, test.want[0]) {
					complaints = append(complaints, line)
				}
			}
			require.Len(t, complaints, 1, "one clear line, not:\n%s", said)
			for _, want := range test.want {
				require.Contains(t, complaints[0], want)
			}
			require.NotContains(t, said, "goroutine ")
			require.LessOrEqual(t, strings.Count(said, "\n"), 3, said)
		})
	}
}

func TestCheckConfig(t *testing.T) {
	for _, program := range []string{"pwdist-proxy", "pwdist-worker"} {
		t.Run(program, func(t *testing.T) {
			run := func(args ...string) (string, int) {
				p := harness.Start(t, t.TempDir(), harness.Command{Name: program, Path: harness.Binary(t, program), Args: args})
				t.Cleanup(p.Kill)
				code := p.ExitCode(t, harness.Patience)
				return p.Output(), code
			}
			// Nothing listens at this Redis: checking needs none, and no browser.
			out, code := run("--check-config", "--redis.url=redis://127.0.0.1:1")
			require.Zero(t, code, out)
			require.Equal(t, "configuration ok\n", out)
			out, code = run("--check-config", "--redis.url=")
			require.NotZero(t, code)
			require.Contains(t, out, "redis.url")

			out, code = run("--print-config", "--redis.url=redis://user:sesame@127.0.0.1:1/0")
			require.Zero(t, code, out)
			require.NotContains(t, out, "sesame")
			require.Contains(t, out, "redis://user:")

			out, code = run("--version")
			require.Zero(t, code, out)
			require.NotEmpty(t, out)
		})
	}
}

// A Redis that cannot be reached is waited for, and each attempt says so; the
// password of its URL is in no line.
func TestUnreachableRedisIsWaitedFor(t *testing.T) {
	for _, program := range []string{"pwdist-proxy", "pwdist-worker"} {
		t.Run(program, func(t *testing.T) {
			p := harness.NewEmpty(t, harness.Options{})
			p.Redis.Kill()
			run := harness.Start(t, t.TempDir(), harness.Command{
				Name: program, Path: harness.Binary(t, program),
				Args: []string{
					"--redis.url=" + p.Redis.URL, "--listen=127.0.0.1:0", "--admin.listen=", "--log.format=console",
				},
				Env: []string{"PWDIST_PLAYWRIGHT__DIR=" + harness.PlaywrightDir()},
			})
			t.Cleanup(run.Kill)
			harness.Await(t, "it says that it cannot reach Redis, and goes on trying", func() bool {
				return strings.Count(run.Output(), "cannot reach Redis at "+p.Redis.Address) >= 2
			})
			require.Contains(t, run.Output(), "trying again in")
			require.True(t, run.Running())
			p.Redis.Start(t)
			harness.Await(t, "it is part of the pool", func() bool { return len(p.Log.All()) > 0 })
			require.NoError(t, run.Terminate(harness.Patience))
		})
	}
}

// onlyNode is a folder to be the whole PATH: Node is there and no browser.
func onlyNode(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"node", "env", "sh"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		path, err = filepath.EvalSymlinks(path)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	return dir
}
