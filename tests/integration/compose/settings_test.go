package compose_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// notPassed are the settings that the compose file does not hand on, and why.
var notPassed = map[string]string{
	"admin.token":      "the admin ports are on loopback and on a Unix socket; admin.yaml opens them",
	"admin.token_file": "the same",
	"admin.insecure":   "the same",
	"redis.ca_file":    "the pool's Redis is in a network of its own, without TLS",
	"redis.cert_file":  "the same",
	"redis.key_file":   "the same",
	"listen":           "a port of the container's own; PWDIST_PORT is where it is published",
	"handover.socket":  "it is for two proxies on one machine, and a container has one",
	"playwright.dir":   "the image has it in one place",
	"playwright.node":  "the same",
	"browser.headless": "there is no screen",
}

// fixed are those that have a value of the file's own, whatever the shell has.
var fixed = map[string]string{
	"redis.url": "the pool's own Redis",
}

// elsewhere are those that are set where the file does not show it.
var elsewhere = map[string]string{
	"admin.listen": "the worker's is in its image",
}

// Whatever a service can be told, the compose file hands on under each of its
// names, but for what makes no sense in a container.
func TestSettingsArePassed(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Environment map[string]any
		}
	}
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/compose/compose.yaml"), &file))
	setting := regexp.MustCompile(`(?m)^  (?:--)?([a-z_.]+)[= ].*\n(?:      .*\n)*?      env ([A-Z_, ]+)`)
	left := maps.Clone(notPassed)
	for _, service := range []string{"proxy", "worker"} {
		help, err := output(exec.Command(harness.Binary(t, "pwdist-"+service), "--help"))
		require.NoError(t, err)
		known := map[string]bool{}
		found := setting.FindAllStringSubmatch(help, -1)
		require.Len(t, found, strings.Count(help, "\n      env "), "settings are missing among those found in --help")
		for _, s := range found {
			key, names := s[1], strings.Split(s[2], ", ")
			var passed, missing []string
			for _, name := range names {
				known[name] = true
				if handsOn(file.Services[service].Environment, name) {
					passed = append(passed, name)
				} else {
					missing = append(missing, name)
				}
			}
			switch {
			case notPassed[key] != "":
				require.Empty(t, passed, "%s of the %s is passed by now", key, service)
				delete(left, key)
			case fixed[key] != "":
				require.NotEmpty(t, passed, "%s of the %s has no value any more", key, service)
			case elsewhere[key] == "":
				require.Empty(t, missing, "deploy/compose/compose.yaml does not pass %s (%s) to the %s under every name", key, s[2], service)
			}
		}
		for name := range file.Services[service].Environment {
			require.True(t, known[name], "%s is no setting of the %s", name, service)
		}
	}
	require.Empty(t, left, "there are no such settings")
}

// handsOn tells whether a variable of the shell gets into a container, under its
// own name or in the value of another.
func handsOn(environment map[string]any, name string) bool {
	if _, ok := environment[name]; ok {
		return true
	}
	for _, value := range environment {
		if text, ok := value.(string); ok && strings.Contains(text, "${"+name+":") {
			return true
		}
	}
	return false
}

// configured is what docker compose makes of the file, from the repository's
// root, with these variables.
type configured struct {
	Services map[string]struct {
		Environment map[string]*string
		Command     []string
		MemLimit    string `json:"mem_limit"`
		StopGrace   string `json:"stop_grace_period"`
	}
	Secrets map[string]struct{ File string }
}

func needCompose(t *testing.T) {
	t.Helper()
	if exec.Command("docker", "compose", "version").Run() != nil {
		require.Empty(t, os.Getenv("PWDIST_TEST_COMPOSE"), "docker compose version does not work")
		t.Skip("needs docker compose, but no engine")
	}
}

func configure(t *testing.T, env ...string) configured {
	t.Helper()
	needCompose(t)
	cmd := exec.Command("docker", "compose", "config", "--format", "json")
	cmd.Dir, cmd.Env = harness.Root(), append(clean(os.Environ()), env...)
	text, err := output(cmd)
	require.NoError(t, err)
	var c configured
	require.NoError(t, json.Unmarshal([]byte(text), &c))
	return c
}

// environment is what a container gets: of variables without a value, those
// that are set.
func (c configured) environment(service string) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(c.Services[service].Environment)) {
		if value := c.Services[service].Environment[name]; value != nil {
			env = append(env, name+"="+*value)
		}
	}
	return env
}

// inForce are the settings that a service sees with what its container gets.
func (c configured) inForce(t *testing.T, service string) string {
	t.Helper()
	cmd := exec.Command(harness.Binary(t, "pwdist-"+service), "--print-config")
	cmd.Env = c.environment(service)
	text, err := output(cmd)
	require.NoError(t, err)
	return text
}

// The command by which the docs name a file of tokens finds that file.
func TestTokensFileOfTheDocs(t *testing.T) {
	command := regexp.MustCompile("`PWDIST_TOKENS_FILE=(\\S+) docker compose up -d`").FindSubmatch(read(t, "docs/credentials.md"))
	require.NotNil(t, command)
	shell := exec.Command("sh", "-c", "printf %s "+string(command[1]))
	shell.Dir = harness.Root()
	path, err := output(shell)
	require.NoError(t, err)

	c := configure(t, "PWDIST_TOKENS_FILE="+path)
	require.Equal(t, filepath.Join(harness.Root(), "tokens.yaml"), c.Secrets["tokens"].File)
	require.Contains(t, c.environment("proxy"), "PWDIST_TOKENS__FILE=/run/secrets/tokens")
}

// Each name by which the file can be given closes the pool, and so do both.
func TestTokensFileUnderEachName(t *testing.T) {
	const one, other = "PWDIST_TOKENS_FILE", "PWDIST_TOKENS__FILE"
	for _, name := range []string{one, other} {
		c := configure(t, name+"=/etc/tokens.yaml")
		require.Equal(t, "/etc/tokens.yaml", c.Secrets["tokens"].File, name)
		require.Contains(t, c.environment("proxy"), "PWDIST_TOKENS__FILE=/run/secrets/tokens", name)
	}
	require.Contains(t, configure(t).environment("proxy"), "PWDIST_TOKENS__FILE=")
	both := configure(t, one+"=/etc/tokens.yaml", other+"=/etc/tokens.yaml").Services["proxy"].Environment["PWDIST_TOKENS__FILE"]
	require.NotNil(t, both)
	require.Contains(t, *both, "set one of PWDIST_TOKENS_FILE and PWDIST_TOKENS__FILE, not both")
}

// Of a .env in the root plain docker compose knows by itself, and the forms that
// name a file when they are told.
func TestEnvFileOfTheRoot(t *testing.T) {
	needCompose(t)
	admin := regexp.MustCompile(`(?m)^docker compose (-f \S+ -f \S+admin\.yaml) up -d`).FindSubmatch(read(t, "README.md"))
	require.NotNil(t, admin)
	const file = "--env-file .env"
	for _, path := range []string{"README.md", "deploy/compose/admin.yaml"} {
		require.Contains(t, string(read(t, path)), file)
	}
	dir := t.TempDir()
	for _, path := range []string{
		"compose.yaml", "deploy/compose/compose.yaml", "deploy/compose/admin.yaml", "deploy/compose/include.env", "deploy/compose/seccomp.json",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), read(t, path), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte("PWDIST_POOL=ours\nPWDIST_ADMIN_TOKEN_FILE=/etc/hostname\n"), 0o600))
	for form, want := range map[string]bool{
		"": true, file + " " + string(admin[1]): true, file + " -f deploy/compose/compose.yaml": true, file + " --project-directory deploy/compose": true,
		"-f deploy/compose/compose.yaml": false, "--project-directory deploy/compose": false,
	} {
		cmd := exec.Command("docker", append(append([]string{"compose"}, strings.Fields(form)...), "config")...)
		cmd.Dir, cmd.Env = dir, clean(os.Environ())
		text, err := output(cmd)
		require.NoError(t, err)
		require.Equal(t, want, strings.Contains(text, "PWDIST_POOL: ours"), "docker compose %s config", form)
	}
}

// A setting that needs more of its container than that has by default.
func TestContainersCanHaveMore(t *testing.T) {
	const megabyte = 1 << 20
	c := configure(t)
	require.Contains(t, string(read(t, "deploy/compose/redis.conf")), "\nmaxmemory 384mb\n")
	require.Equal(t, []string{"--maxmemory", "384mb"}, c.Services["redis"].Command)
	require.Equal(t, strconv.Itoa(512*megabyte), c.Services["redis"].MemLimit)
	c = configure(t, "REDIS_MAXMEMORY=768mb", "REDIS_MEMORY=1g", "PWDIST_STOP_GRACE=1230s")
	require.Equal(t, []string{"--maxmemory", "768mb"}, c.Services["redis"].Command)
	require.Equal(t, strconv.Itoa(1024*megabyte), c.Services["redis"].MemLimit)
	require.Equal(t, "20m30s", c.Services["proxy"].StopGrace)
	require.Equal(t, "20m30s", c.Services["worker"].StopGrace)
}

// A setting with two names is the same under both.
func TestSettingsArriveUnderEachName(t *testing.T) {
	for variable, want := range map[string]string{
		"MAX_CONCURRENT_SESSIONS=9": "slots: 9", "PWDIST_SLOTS=9": "slots: 9", "PWDIST_LIFETIME__SESSIONS=9": "sessions: 9",
		"LOG_FORMAT=json": "format: json", "PWDIST_LOG__FORMAT=json": "format: json", "PWDIST_ADVERTISE=w7.internal": "advertise: w7.internal",
	} {
		require.Contains(t, strings.Join(strings.Fields(configure(t, variable).inForce(t, "worker")), " "), want, variable)
	}
}

// What is set in the shell arrives, and what is empty there is the default.
func TestSettingsArrive(t *testing.T) {
	names := []string{"PWDIST_GUARD__CDP", "PWDIST_EGRESS__DENY", "PWDIST_BROWSER__MEMORY_LIMIT", "PWDIST_BROWSER__PROBE_INTERVAL", "PWDIST_RELAY__STALL"}
	with := func(values ...string) configured {
		var env []string
		for i, name := range names {
			if i < len(values) {
				env = append(env, name+"="+values[i])
			}
		}
		return configure(t, env...)
	}
	set := with("refuse", "ads.example,192.0.2.0/24", "2GiB", "90s", "77s")
	worker := set.inForce(t, "worker")
	require.Regexp(t, `cdp: refuse # PWDIST_GUARD__CDP`, worker)
	require.Regexp(t, `memory_limit: 2GiB # PWDIST_BROWSER__MEMORY_LIMIT`, worker)
	require.Regexp(t, `probe_interval: 1m30s # PWDIST_BROWSER__PROBE_INTERVAL`, worker)
	for _, service := range []string{"proxy", "worker"} {
		require.Regexp(t, `stall: 1m17s # PWDIST_RELAY__STALL`, set.inForce(t, service))
	}
	require.Contains(t, set.environment("worker"), "PWDIST_EGRESS__DENY=redis,proxy,worker,ads.example,192.0.2.0/24")

	for _, c := range []configured{with("", "", "", "", ""), with()} {
		require.Regexp(t, `cdp: filter # default`, c.inForce(t, "worker"))
		require.Contains(t, c.environment("worker"), "PWDIST_EGRESS__DENY=redis,proxy,worker")
	}
}
