package compose_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// project names everything that the test makes on the engine. It is fixed, so
// that a run removes what one before it could not.
const project = "pwdist-test"

// stack is the pool of the repository's compose files.
type stack struct {
	port int // first of two that the endpoint may be published at
	env  map[string]string

	named int // sessions with a name of their own
}

// newStack builds the images. Everything is gone when the test is over.
func newStack(t *testing.T, env map[string]string) *stack {
	t.Helper()
	if os.Getenv("PWDIST_TEST_COMPOSE") == "" {
		t.Skip("needs a Docker Engine: run make test-compose")
	}
	if out, err := exec.Command("docker", "version").CombinedOutput(); err != nil {
		t.Fatalf("there is no Docker Engine: start it, or set DOCKER_HOST. docker version says:\n%s", out)
	}
	s := &stack{port: portPair(t), env: map[string]string{
		"COMPOSE_PROJECT_NAME": project,
		// Where no registry can be reached there is still Debian.
		"WORKER_BASE": "debian:trixie-slim",
	}}
	s.onePort()
	maps.Copy(s.env, env)
	s.remove(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("── docker compose ps\n%s\n── docker compose logs\n%s", s.compose(t, "ps", "-a"), s.compose(t, "logs", "--no-color"))
		}
		s.remove(t)
	})
	began := time.Now()
	s.compose(t, "--profile", "*", "build")
	t.Logf("built in %s", time.Since(began).Round(time.Second))
	return s
}

// onePort has the endpoint published at one port, as it is by default.
func (s *stack) onePort() { s.env["PWDIST_PORT"] = strconv.Itoa(s.port) }

// portPair finds two free ports beside each other.
func portPair(t *testing.T) int {
	t.Helper()
	for range 100 {
		if port := harness.Port(t); !harness.Listens(fmt.Sprintf("127.0.0.1:%d", port+1)) {
			return port
		}
	}
	t.Fatal("found no two free ports beside each other")
	return 0
}

// remove takes away whatever there is of the project, and makes sure of it.
func (s *stack) remove(t *testing.T) {
	t.Helper()
	s.compose(t, "--profile", "*", "down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "1")
	label := "label=com.docker.compose.project=" + project
	for _, list := range [][]string{
		{"ps", "--all", "--quiet", "--filter", label},
		{"volume", "ls", "--quiet", "--filter", label},
		{"network", "ls", "--quiet", "--filter", label},
		{"images", "--quiet", "--filter", "reference=" + project + "-*"},
	} {
		require.Empty(t, docker(t, list...), "left behind, says docker %s", strings.Join(list, " "))
	}
}

// compose runs docker compose in the root of the repository, as the README has
// it, and returns what it printed.
func (s *stack) compose(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.tryCompose(harness.Root(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *stack) tryCompose(dir string, args ...string) (string, error) {
	cmd := exec.Command("docker", append([]string{"compose"}, args...)...)
	cmd.Dir, cmd.Env = dir, clean(os.Environ())
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return output(cmd)
}

// clean drops what the compose file would take from the caller's shell.
func clean(environ []string) []string {
	var env []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case strings.HasPrefix(name, "PWDIST_"), strings.HasPrefix(name, "COMPOSE_"), strings.HasPrefix(name, "WORKER_"), strings.HasPrefix(name, "REDIS_"),
			strings.HasPrefix(name, "MAX_"), strings.HasPrefix(name, "LOG_"):
		case name == "BROWSER_TYPE", name == "PRIVATE_HOSTNAME", name == "QUEUE_WAIT_TIMEOUT", name == "DEFAULT_BROWSER_TYPE":
		default:
			env = append(env, v)
		}
	}
	return env
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := output(exec.Command("docker", args...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

// up brings the stack into the wanted shape and returns when all of it is ready.
func (s *stack) up(t *testing.T, args ...string) {
	t.Helper()
	s.compose(t, append([]string{"up", "--detach", "--no-build", "--wait"}, args...)...)
}

// url is the published endpoint of a proxy, counted from 0.
func (s *stack) url(proxy int) string { return fmt.Sprintf("ws://localhost:%d", s.port+proxy) }

// containers lists the running ones of a service, in order of their number.
func (s *stack) containers(t *testing.T, service string) []container {
	t.Helper()
	ids := strings.Fields(s.compose(t, "ps", "--quiet", service))
	require.NotEmpty(t, ids, "there is no %s", service)
	var found []container
	require.NoError(t, json.Unmarshal([]byte(docker(t, append([]string{"inspect"}, ids...)...)), &found))
	return found
}

// container is what the engine says of one.
type container struct {
	ID           string
	Name         string
	RestartCount int
	State        struct {
		Status   string
		ExitCode int
	}
	Config struct {
		Hostname string
		User     string
		Env      []string
		Labels   map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs bool
		Init           bool
		CapDrop        []string
		SecurityOpt    []string
		Memory         int64
		PidsLimit      int64
		ShmSize        int64
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress, Gateway string }
		Ports    map[string][]struct{ HostIP, HostPort string }
	}
}

// exec runs a command in a container.
func (c container) exec(t *testing.T, args ...string) string {
	t.Helper()
	return docker(t, append([]string{"exec", c.ID}, args...)...)
}

// runNode runs a script in a fresh container of the worker's image, with the
// stock clients at hand, and returns what it printed.
func (s *stack) runNode(t *testing.T, network, script string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "node_modules"), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "script.mjs")
	require.NoError(t, os.WriteFile(path, []byte(script), 0o644))
	return docker(t, "run", "--rm", "--network", project+"_"+network, "--label", "com.docker.compose.project="+project,
		"--volume", dir+":/client:ro", "--volume", filepath.Join(harness.NodeDir(), "node_modules")+":/client/node_modules:ro",
		"--entrypoint", "node", project+"-worker", "/client/script.mjs") + "\n"
}
