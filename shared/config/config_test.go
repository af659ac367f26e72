package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

// settings has every type that a setting may have.
type settings struct {
	Pool    string        `koanf:"pool" doc:"Name of the pool."`
	Redis   config.Redis  `koanf:"redis"`
	Log     config.Log    `koanf:"log"`
	Timing  config.Timing `koanf:"timing"`
	Admin   config.Admin  `koanf:"admin"`
	Queue   queue         `koanf:"queue"`
	Browser struct {
		Args     []string          `koanf:"args" doc:"Extra arguments." example:"--lang=de"`
		Headless bool              `koanf:"headless" doc:"Without a window."`
		Labels   map[string]string `koanf:"labels" doc:"What clients can require."`
	} `koanf:"browser"`
	Token string `koanf:"token" doc:"Secret of the pool." secret:"true"`
}

type queue struct {
	Size   int           `koanf:"size" doc:"Most that wait."`
	Wait   time.Duration `koanf:"wait" doc:"How long."`
	Jitter float64       `koanf:"jitter" doc:"Share that is random."`
}

func spec() config.Spec[settings] {
	d := settings{
		Pool: "default", Redis: config.DefaultRedis(), Log: config.DefaultLog(), Timing: config.DefaultTiming(), Admin: config.DefaultAdmin(),
		Queue: queue{Size: 100, Wait: 30 * time.Second, Jitter: 0.15},
	}
	d.Browser.Args = []string{"--mute-audio"}
	d.Browser.Headless = true
	d.Browser.Labels = map[string]string{"zone": "a"}
	aliases := config.CommonAliases()
	aliases["MAX_QUEUE_SIZE"] = "queue.size"
	return config.Spec[settings]{
		Program: "pwdist-test", Version: "v1.2.3", About: "a program under test",
		Defaults: d, Aliases: aliases,
		Validate: func(s *settings) error {
			return errors.Join(config.PoolName(s.Pool), s.Log.Validate())
		},
	}
}

// load loads and wants success.
func load(t *testing.T, args, environ []string) (settings, []string) {
	t.Helper()
	var out bytes.Buffer
	cfg, warnings, outcome, err := config.Load(spec(), args, environ, &out)
	require.NoError(t, err)
	require.Equal(t, config.Run, outcome)
	require.Empty(t, out.String())
	return cfg, warnings
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pool.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestDefaults(t *testing.T) {
	cfg, warnings := load(t, nil, nil)
	require.Equal(t, spec().Defaults, cfg)
	require.Empty(t, warnings)
}

// TestPrecedence: each layer goes over the one before, setting by setting.
func TestPrecedence(t *testing.T) {
	path := file(t, "queue:\n  size: 1\n  wait: 1s\n  jitter: 0.1\nlog:\n  level: debug\n")
	cfg, warnings := load(t,
		[]string{"--config", path, "--queue.size=4"},
		[]string{"PWDIST_QUEUE__SIZE=3", "PWDIST_QUEUE__WAIT=3s", "MAX_QUEUE_SIZE=2", "LOG_LEVEL=warn"})
	require.Equal(t, queue{Size: 4, Wait: 3 * time.Second, Jitter: 0.1}, cfg.Queue)
	require.Equal(t, "warn", cfg.Log.Level)
	require.Equal(t, "default", cfg.Pool)
	require.Equal(t, []string{"MAX_QUEUE_SIZE is ignored, because PWDIST_QUEUE__SIZE is set too and goes before it"}, warnings)
}

func TestFileFromEnvironment(t *testing.T) {
	inEnv := file(t, "pool: from-env\n")
	cfg, _ := load(t, nil, []string{"PWDIST_CONFIG=" + inEnv})
	require.Equal(t, "from-env", cfg.Pool)
	cfg, _ = load(t, []string{"--config=" + file(t, "pool: from-flag\n")}, []string{"PWDIST_CONFIG=" + inEnv})
	require.Equal(t, "from-flag", cfg.Pool)
}

// TestValues: the same text means the same in a file, a variable and a flag.
func TestValues(t *testing.T) {
	want := func(change func(*settings)) settings {
		s := spec().Defaults
		change(&s)
		return s
	}
	tests := []struct {
		key, text string
		want      settings
	}{
		{"pool", "team-1", want(func(s *settings) { s.Pool = "team-1" })},
		{"token", "1234", want(func(s *settings) { s.Token = "1234" })},
		{"token", "true", want(func(s *settings) { s.Token = "true" })},
		{"queue.size", "7", want(func(s *settings) { s.Queue.Size = 7 })},
		{"queue.jitter", "0.5", want(func(s *settings) { s.Queue.Jitter = 0.5 })},
		{"queue.jitter", "1", want(func(s *settings) { s.Queue.Jitter = 1 })},
		{"queue.wait", "1m30s", want(func(s *settings) { s.Queue.Wait = 90 * time.Second })},
		{"queue.wait", "0s", want(func(s *settings) { s.Queue.Wait = 0 })},
		{"browser.headless", "false", want(func(s *settings) { s.Browser.Headless = false })},
		{"browser.headless", "no", want(func(s *settings) { s.Browser.Headless = false })},
		{"browser.headless", "0", want(func(s *settings) { s.Browser.Headless = false })},
		{"browser.args", "--a, --b=1", want(func(s *settings) { s.Browser.Args = []string{"--a", "--b=1"} })},
		{"browser.args", `["--a","--b=1,2"]`, want(func(s *settings) { s.Browser.Args = []string{"--a", "--b=1,2"} })},
		{"browser.labels", "os=linux, gpu = no", want(func(s *settings) { s.Browser.Labels = map[string]string{"os": "linux", "gpu": "no"} })},
		{"browser.labels", `{"os":"a=b,c"}`, want(func(s *settings) { s.Browser.Labels = map[string]string{"os": "a=b,c"} })},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.text, func(t *testing.T) {
			env := "PWDIST_" + strings.ToUpper(strings.ReplaceAll(tt.key, ".", "__"))
			group, name, nested := strings.Cut(tt.key, ".")
			yaml := tt.key + ": '" + tt.text + "'\n"
			if nested {
				yaml = group + ":\n  " + name + ": '" + tt.text + "'\n"
			}
			plain := strings.ReplaceAll(yaml, "'", "")
			for way, in := range map[string][2][]string{
				"flag":       {{"--" + tt.key + "=" + tt.text}, nil},
				"env":        {nil, {env + "=" + tt.text}},
				"file":       {{"--config", file(t, yaml)}, nil},
				"plain file": {{"--config", file(t, plain)}, nil},
			} {
				if way == "flag" && tt.key == "token" {
					continue // a flag shows in the list of processes
				}
				if way == "plain file" && strings.HasPrefix(tt.text, "{") {
					continue // there the braces hold YAML
				}
				cfg, _ := load(t, in[0], in[1])
				require.Equal(t, tt.want, cfg, way)
			}
		})
	}
}

func TestFileStructures(t *testing.T) {
	cfg, _ := load(t, []string{"--config", file(t, `
# every kind of thing that YAML allows
timing:
browser: &b
  args:
    - --a
    - --b=1,2
    - 3
  labels: {os: linux, cores: 4}
queue.size: 9
pool: "1_0"
`)}, nil)
	require.Equal(t, []string{"--a", "--b=1,2", "3"}, cfg.Browser.Args)
	require.Equal(t, map[string]string{"os": "linux", "cores": "4"}, cfg.Browser.Labels)
	require.Equal(t, 9, cfg.Queue.Size)
	require.Equal(t, "1_0", cfg.Pool)

	cfg, _ = load(t, []string{"--config", file(t, "")}, nil)
	require.Equal(t, spec().Defaults, cfg)
	cfg, _ = load(t, []string{"--config", file(t, "# nothing\n")}, nil)
	require.Equal(t, spec().Defaults, cfg)
}

func TestFlagsAddUp(t *testing.T) {
	cfg, _ := load(t, []string{
		"--browser.args=--a", `--browser.args=["--b=1,2"]`,
		"--browser.labels=os=linux", "--browser.labels=gpu=no",
		"--queue.size=1", "--queue.size", "2", "--browser.headless",
	}, []string{"PWDIST_BROWSER__ARGS=--from-env", "PWDIST_BROWSER__HEADLESS=false"})
	require.Equal(t, []string{"--a", "--b=1,2"}, cfg.Browser.Args)
	require.Equal(t, map[string]string{"os": "linux", "gpu": "no"}, cfg.Browser.Labels)
	require.Equal(t, 2, cfg.Queue.Size)
	require.True(t, cfg.Browser.Headless)
}

// TestEmpty: an empty variable is not set, an empty flag is.
func TestEmpty(t *testing.T) {
	cfg, _ := load(t, []string{"--admin.listen="}, []string{"REDIS_URL=", "PWDIST_POOL=", "PWDIST_QUEUE__SIZE="})
	require.Equal(t, spec().Defaults.Redis, cfg.Redis)
	require.Equal(t, "default", cfg.Pool)
	require.Equal(t, 100, cfg.Queue.Size)
	require.Empty(t, cfg.Admin.Listen)
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		environ string
		want    []string
	}{
		{"PWDIST_REDIS_URL=x", []string{"environment variable PWDIST_REDIS_URL is not a setting; did you mean PWDIST_REDIS__URL?"}},
		{"PWDIST_QUEUE__SIZ=x", []string{"environment variable PWDIST_QUEUE__SIZ is not a setting; did you mean PWDIST_QUEUE__SIZE?"}},
		{"PWDIST_PROXY_SERVICE_HOST=x", []string{"environment variable PWDIST_PROXY_SERVICE_HOST is not a setting; --help lists all settings"}},
		{"PWDIST_QUEUE__SIZE=tcp://10.0.0.1:8080", []string{"PWDIST_QUEUE__SIZE is ignored: it is what Kubernetes sets for a service of that name (turn it off with enableServiceLinks: false)"}},
		{"PWDIST_UP_WORKERS=2", nil},
		{"PWDIST_CONFIG=", nil},
		{"PWDIST=1", nil},
		{"QUEUE__SIZE=1", nil},
		{"no equals sign", nil},
	}
	for _, tt := range tests {
		cfg, warnings := load(t, nil, []string{tt.environ})
		require.Equal(t, tt.want, warnings, tt.environ)
		require.Equal(t, spec().Defaults, cfg)
	}
	_, warnings := load(t, nil, []string{"REDIS_URL=redis://a", "PWDIST_REDIS__URL=redis://a"})
	require.Empty(t, warnings, "both say the same")
}

// TestPasswordInAFlag works, since there are those who start it so, and is
// warned of without being repeated.
func TestPasswordInAFlag(t *testing.T) {
	const url = "redis://me:hush@h:1"
	cfg, warnings := load(t, []string{"--redis.url=" + url}, nil)
	require.Equal(t, url, cfg.Redis.URL)
	require.Equal(t, []string{"--redis.url holds a password, which shows to everybody who lists this machine's processes: use PWDIST_REDIS__URL or a file"}, warnings)

	for _, other := range []string{"redis://me@h:1", "redis://me:@h:1", "redis://h:1", "unix:///run/redis.sock"} {
		_, warnings = load(t, []string{"--redis.url=" + other}, nil)
		require.Empty(t, warnings, other)
	}
	_, warnings = load(t, nil, []string{"REDIS_URL=" + url})
	require.Empty(t, warnings)
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name    string
		yaml    string
		args    []string
		environ []string
		want    []string // lines; FILE stands for the file
	}{
		{"unknown flag", "", []string{"--redis.ulr=redis://:hush@h"}, nil, []string{"unknown flag --redis.ulr; did you mean --redis.url?"}},
		{"flag without its group", "", []string{"--url=x"}, nil, []string{"unknown flag --url; did you mean --redis.url?"}},
		{"flag with dashes", "", []string{"--queue-size=1"}, nil, []string{"unknown flag --queue-size; did you mean --queue.size?"}},
		{"flag like nothing", "", []string{"--frobnicate"}, nil, []string{"unknown flag --frobnicate; --help lists all settings"}},
		{"misspelt action", "", []string{"--check-confg"}, nil, []string{"unknown flag --check-confg; did you mean --check-config?"}},
		{"short flag", "", []string{"-x"}, nil, []string{"unknown flag -x; --help lists all settings"}},
		{"argument", "", []string{"redis://:hush@h"}, nil, []string{`unexpected argument "redis://:***@h": settings are given as --name=value, see --help`}},
		{"flag without value", "", []string{"--queue.size"}, nil, []string{"command line: flag needs an argument: --queue.size"}},
		{"wrong type in flag", "", []string{"--queue.size=many"}, nil, []string{`--queue.size: queue.size must be a whole number, such as 5, not "many"`}},
		{"wrong type in variable", "", nil, []string{"PWDIST_QUEUE__WAIT=30"}, []string{`PWDIST_QUEUE__WAIT: queue.wait must be a duration with a unit, such as "500ms", "30s" or "5m", not "30"`}},
		{"wrong type in alias", "", nil, []string{"MAX_QUEUE_SIZE=1.5"}, []string{`MAX_QUEUE_SIZE: queue.size must be a whole number, such as 5, not "1.5"`}},
		{"wrong type in file", "pool: a\nqueue:\n  jitter: lots\n", nil, nil, []string{`FILE:3: queue.jitter must be a number, such as 0.15, not "lots"`}},
		{"bad bool", "browser: {headless: maybe}", nil, nil, []string{`FILE:1: browser.headless must be true or false, not "maybe"`}},
		{"bad map", "", []string{"--browser.labels=linux"}, nil, []string{`--browser.labels: browser.labels must be pairs: "key=value,key2=value2", not "linux"`}},
		{"bad JSON list", "", []string{`--browser.args=["--a"`}, nil, []string{`--browser.args: browser.args must be a list: "a,b", or a JSON array where a value has commas, not "[\"--a\""`}},
		{"list for a number", "queue:\n  size: [1, 2]\n", nil, nil, []string{"FILE:2: queue.size must be a whole number, such as 5"}},
		{"list of lists", "browser:\n  args: [[a]]\n", nil, nil, []string{"FILE:2: browser.args must be a list of plain values"}},
		{"map of lists", "browser:\n  labels: {a: [b]}\n", nil, nil, []string{"FILE:2: browser.labels must hold plain values"}},
		{"unknown in file", "redis:\n  ulr: redis://:hush@h\n", nil, nil, []string{"FILE:2: unknown setting redis.ulr; did you mean redis.url?"}},
		{"unknown group", "qeue:\n  size: 1\n", nil, nil, []string{"FILE:1: unknown setting qeue; did you mean queue?"}},
		{"value for a group", "redis: redis://:hush@h\n", nil, nil, []string{`FILE:1: redis must hold settings as "name: value" lines`}},
		{"no mapping", "- a\n", nil, nil, []string{`FILE:1: the file must hold settings as "name: value" lines`}},
		{"no value", "pool:\n", nil, nil, []string{"FILE:1: pool has no value: give it one or take the line out"}},
		{"twice", "pool: a\npool: b\n", nil, nil, []string{"FILE:2: pool is set a second time in this file"}},
		{"two documents", "pool: a\n---\npool: b\n", nil, nil, []string{"FILE: holds more than one YAML document"}},
		{"no YAML", "pool: [\n", nil, nil, []string{"FILE: yaml: line 1: did not find expected node content"}},
		{"secret stays secret", "", nil, []string{"PWDIST_QUEUE__SIZE=redis://u:hush@h"}, []string{`PWDIST_QUEUE__SIZE: queue.size must be a whole number, such as 5, not "redis://u:***@h"`}},
		{"several at once", "pool: [a]\n", []string{"--queue.size=x"}, []string{"PWDIST_QUEUE__WAIT=x"}, []string{
			"FILE:1: pool must be a text",
			`PWDIST_QUEUE__WAIT: queue.wait must be a duration with a unit, such as "500ms", "30s" or "5m", not "x"`,
			`--queue.size: queue.size must be a whole number, such as 5, not "x"`,
		}},
		{"a later layer does not excuse", "queue: {size: x}", []string{"--queue.size=1"}, nil, []string{`FILE:1: queue.size must be a whole number, such as 5, not "x"`}},
		{"invalid together", "", []string{"--pool=A b", "--log.level=loud", "--redis.url=", "--timing.heartbeat=6s", "--admin.listen=9090"}, nil, []string{
			"redis.url is empty: set it, for example to redis://127.0.0.1:6379/0",
			`log.level must be debug, info, warn or error, not "loud"`,
			`admin.listen must be an address such as ":8080" or "127.0.0.1:8080", not "9090"`,
			`pool name "A b": use 1 to 40 characters of a-z, 0-9, '-' and '_'`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			path := ""
			if tt.yaml != "" {
				path = file(t, tt.yaml)
				args = append([]string{"--config", path}, args...)
			}
			_, _, _, err := config.Load(spec(), args, tt.environ, &bytes.Buffer{})
			require.Error(t, err)
			got := err.Error()
			if path != "" {
				got = strings.ReplaceAll(got, path, "FILE")
			}
			require.Equal(t, strings.Join(tt.want, "\n"), got)
			require.NotContains(t, err.Error(), "hush")
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, _, _, err := config.Load(spec(), []string{"--config=/no/such/file.yaml"}, nil, &bytes.Buffer{})
	require.EqualError(t, err, "cannot read the configuration file: stat /no/such/file.yaml: no such file or directory")
	_, _, _, err = config.Load(spec(), []string{"--config=" + t.TempDir()}, nil, &bytes.Buffer{})
	require.ErrorContains(t, err, "is a directory")
}

func TestSecretIsNotInErrors(t *testing.T) {
	type hush struct {
		Pin int `koanf:"pin" secret:"true"`
	}
	_, _, _, err := config.Load(config.Spec[hush]{}, nil, []string{"PWDIST_PIN=12a34"}, &bytes.Buffer{})
	require.EqualError(t, err, "PWDIST_PIN: pin must be a whole number, such as 5")
	_, _, _, err = config.Load(config.Spec[hush]{}, []string{"--pin=1234"}, nil, &bytes.Buffer{})
	require.EqualError(t, err, "--pin would show the secret to everybody who lists this machine's processes: use PWDIST_PIN or a file")
}

func answer(t *testing.T, args, environ []string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	_, _, outcome, err := config.Load(spec(), args, environ, &out)
	require.Equal(t, config.Exit, outcome)
	return out.String(), err
}

func TestActions(t *testing.T) {
	out, err := answer(t, []string{"--version"}, nil)
	require.NoError(t, err)
	require.Regexp(t, `^pwdist-test v1\.2\.3 \(go1\.\S+, \w+/\w+\)\n$`, out)

	out, err = answer(t, []string{"--check-config"}, nil)
	require.NoError(t, err)
	require.Equal(t, "configuration ok\n", out)

	_, _, outcome, err := config.Load(spec(), []string{"--check-config", "--log.level=loud"}, nil, &bytes.Buffer{})
	require.Error(t, err)
	require.Equal(t, config.Run, outcome, "an error is never a regular end")
}

// TestCheckHealthIsTheProgramsPart: only valid settings say where to ask.
func TestCheckHealthIsTheProgramsPart(t *testing.T) {
	var out bytes.Buffer
	cfg, _, outcome, err := config.Load(spec(), []string{"--check-health", "--queue.size=5"}, nil, &out)
	require.NoError(t, err)
	require.Equal(t, config.CheckHealth, outcome)
	require.Equal(t, 5, cfg.Queue.Size)
	require.Empty(t, out.String())

	_, _, outcome, err = config.Load(spec(), []string{"--check-health", "--log.level=loud"}, nil, &out)
	require.Error(t, err)
	require.Equal(t, config.Run, outcome)
}

func TestHelp(t *testing.T) {
	out, err := answer(t, []string{"-h"}, nil)
	require.NoError(t, err)
	require.Contains(t, out, "pwdist-test - a program under test\n")
	require.Contains(t, out, `
  --redis.url=TEXT
      Redis of the pool: redis:// or rediss:// (TLS) with [user:password@]host:port[/db], or unix:///path/to/socket[?db=0]. A password in a flag shows to everybody who lists the machine's processes: give it in the variable or by redis.password_file.
      env REDIS_URL, PWDIST_REDIS__URL; default redis://127.0.0.1:6379/0; for example redis://user@redis.internal:6379/0
`)
	require.Contains(t, out, "\n  --queue.wait=DURATION\n      How long.\n      env PWDIST_QUEUE__WAIT; default 30s\n")
	require.Contains(t, out, "\n  token (not as a flag, which others would see)\n      Secret of the pool.\n      env PWDIST_TOKEN\n")
}

func TestPrintConfig(t *testing.T) {
	path := file(t, "queue:\n  wait: 5m\nbrowser:\n  args: [--a, --b]\n")
	environ := []string{"REDIS_URL=redis://me:hush@h:1/2", "PWDIST_TOKEN=hush", "PWDIST_BROWSER__LABELS="}
	out, err := answer(t, []string{"--print-config", "--config", path, "--queue.size=5"}, environ)
	require.NoError(t, err)
	require.Equal(t, `pool: default # default
redis:
  url: redis://me:***@h:1/2 # REDIS_URL
  password_file: "" # default
  ca_file: "" # default
  cert_file: "" # default
  key_file: "" # default
log:
  level: info # default
  format: auto # default
timing:
  heartbeat: 5s # default
  process_lease: 15s # default
  start_lease: 10s # default
admin:
  listen: 127.0.0.1:9090 # default
  token: "" # default
  token_file: "" # default
  insecure: false # default
queue:
  size: 5 # --queue.size
  wait: 5m # FILE:2
  jitter: 0.15 # default
browser:
  args: # FILE:4
    - --a
    - --b
  headless: true # default
  labels: # default
    zone: a
token: (hidden) # PWDIST_TOKEN
`, strings.ReplaceAll(out, path, "FILE"))

	out, err = answer(t, []string{"--print-config", "--log.level=loud"}, nil)
	require.ErrorContains(t, err, "log.level must be", "what is wrong is printed and reported")
	require.Contains(t, out, "level: loud # --log.level\n")
}

// TestDefaultsFileLoads: what --print-defaults prints is a file that changes
// nothing.
func TestDefaultsFileLoads(t *testing.T) {
	out, err := answer(t, []string{"--print-defaults"}, nil)
	require.NoError(t, err)
	require.Contains(t, out, "# Name of the pool.\npool: default\n")
	cfg, warnings := load(t, []string{"--config", file(t, out)}, nil)
	require.Empty(t, warnings)
	require.Equal(t, spec().Defaults, cfg)
}

func TestProgrammersMistakes(t *testing.T) {
	type untagged struct{ Name string }
	type wrongType struct {
		N uint8 `koanf:"n"`
	}
	type double struct {
		A string `koanf:"x"`
		B string `koanf:"x"`
	}
	_, _, _, err := config.Load(config.Spec[untagged]{}, nil, nil, &bytes.Buffer{})
	require.ErrorContains(t, err, `untagged.Name needs to be exported and tagged koanf:"name"`)
	_, _, _, err = config.Load(config.Spec[wrongType]{}, nil, nil, &bytes.Buffer{})
	require.ErrorContains(t, err, "uint8")
	_, _, _, err = config.Load(config.Spec[double]{}, nil, nil, &bytes.Buffer{})
	require.ErrorContains(t, err, "two fields have the key x")
	s := spec()
	s.Aliases["POOL"] = "pol"
	_, _, _, err = config.Load(s, nil, []string{"POOL=x"}, &bytes.Buffer{})
	require.ErrorContains(t, err, "alias POOL stands for pol, which is not a setting")
}
