package compose_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// The pool of the compose files, from its first start to its end. One pool for
// all of it, since a start takes seconds; each part leaves it running.
func TestCompose(t *testing.T) {
	s := newStack(t, nil)
	pages := newSite(t)
	s.env["PWDIST_BROWSER__ARGS"] = pages.browserArgs()
	// The networks alone have to hold in the parts that follow, and the browser finds the site by rules of its own, which
	// are not for what goes through a proxy.
	s.env["PWDIST_EGRESS__GUARD"] = "false"

	t.Run("first page", s.firstPage)
	t.Run("one file, named in several ways", s.forms)
	t.Run("reads well", s.logs)
	t.Run("client outside", s.clientOutside)
	t.Run("client in another container", s.clientInContainer)
	t.Run("no rights", s.noRights)
	t.Run("sandbox", s.sandbox)
	t.Run("events", s.events)
	t.Run("three workers", s.threeWorkers)
	t.Run("hostile page", func(t *testing.T) { s.hostilePage(t, pages) })
	t.Run("Redis without a password", s.redisWithoutPassword)
	t.Run("two proxies", s.twoProxies)
	t.Run("worker killed", s.workerKilled)
	t.Run("recycling", s.recycling)
	t.Run("egress guard", func(t *testing.T) { s.egressGuard(t, pages) })
	t.Run("stop drains", s.stopDrains)
	t.Run("no secrets", s.noSecrets)
}

const example = "https://example.com/"

// page has a stock client open a page through the first proxy.
func (s *stack) page(t *testing.T) {
	t.Helper()
	title, err := harness.Visit(t, s.url(0), example)
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)
}

// firstPage starts the pool as the README has it and measures how long a user
// waits for the first page.
func (s *stack) firstPage(t *testing.T) {
	began := time.Now()
	s.compose(t, "up", "--detach", "--no-build")
	started := time.Since(began)
	var title string
	harness.AwaitWithin(t, 2*time.Minute, "a page is open", func() bool {
		// The published port is there before the proxy; from then on clients wait for a worker.
		got, err := harness.Visit(t, s.url(0), example)
		title = got
		return err == nil
	})
	t.Logf("docker compose up -d returned after %.1f s; the first page was open after %.1f s", started.Seconds(), time.Since(began).Seconds())
	require.Equal(t, harness.ExampleTitle, title)
	s.up(t)
	for _, service := range []string{"redis", "proxy", "worker"} {
		size, err := strconv.Atoi(docker(t, "image", "inspect", project+"-"+service, "--format", "{{.Size}}"))
		require.NoError(t, err)
		t.Logf("image of the %s: %d MB", service, size/1_000_000)
	}
}

// forms are the ways in which the README names the file.
func (s *stack) forms(t *testing.T) {
	root := harness.Root()
	want := s.compose(t, "config", "--services")
	for _, form := range [][]string{
		{"-f", "deploy/compose/compose.yaml"},
		{"--project-directory", "deploy/compose"},
	} {
		got, err := s.tryCompose(root, append(form, "config", "--services")...)
		require.NoError(t, err)
		require.ElementsMatch(t, strings.Fields(want), strings.Fields(got))
		// It is the same pool: nothing would be made anew.
		plan, err := s.tryCompose(root, append(form, "up", "--detach", "--no-build", "--dry-run")...)
		require.NoError(t, err)
		require.NotContains(t, plan, "Recreate")
	}
	_, err := s.tryCompose(root, "-f", "deploy/compose", "config")
	require.Error(t, err, "a folder works as well by now: say so in the README")
}

// logs are lines for people, of which none is about trouble but that the pool
// is open.
func (s *stack) logs(t *testing.T) {
	lines := s.compose(t, "logs", "--no-color", "--no-log-prefix", "proxy", "worker")
	require.Regexp(t, `(?m)^\d\d:\d\d:\d\d\.\d+ +INFO +proxy +serving`, lines)
	require.Regexp(t, `(?m)^\d\d:\d\d:\d\d\.\d+ +INFO +worker\S* +joined the pool`, lines)
	require.Contains(t, lines, "there are no tokens")
	require.NotRegexp(t, `WARN|ERROR`, regexp.MustCompile(`(?m)^.*there are no tokens.*$`).ReplaceAllString(lines, ""))
}

func (s *stack) clientOutside(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(harness.NodeDir(), "node_modules"), filepath.Join(dir, "node_modules")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sample.mjs"), []byte(sample(t, s.url(0))), 0o600))
	cmd := exec.Command("node", "sample.mjs")
	cmd.Dir = dir
	out, err := output(cmd)
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle+"\n", out)
}

func (s *stack) clientInContainer(t *testing.T) {
	require.Equal(t, harness.ExampleTitle+"\n", s.runNode(t, "front", sample(t, "ws://proxy:8080")))
}

// sample is the README's Node client for an endpoint.
func sample(t *testing.T, url string) string {
	t.Helper()
	block := regexp.MustCompile("(?s)<!-- sample: node -->\\s*```js\n(.*?)```").FindSubmatch(read(t, "README.md"))
	require.NotNil(t, block)
	const address = "ws://localhost:8080"
	require.Contains(t, string(block[1]), address)
	return strings.ReplaceAll(string(block[1]), address, url)
}

// noRights: no process is root, none can become it, and each container is
// bounded. Only the proxy's port is published, on this machine alone.
func (s *stack) noRights(t *testing.T) {
	for _, service := range []string{"redis", "proxy", "worker"} {
		for _, c := range s.containers(t, service) {
			require.NotContains(t, []string{"", "0", "root"}, strings.Split(c.Config.User, ":")[0], service)
			processes := strings.Split(docker(t, "top", c.ID, "-eo", "pid,uid,comm"), "\n")[1:]
			require.NotEmpty(t, processes)
			for _, process := range processes {
				require.NotEqual(t, "0", strings.Fields(process)[1], "%s: %s is root's", service, process)
			}
			h := c.HostConfig
			require.True(t, h.ReadonlyRootfs && h.Init, service)
			require.Equal(t, []string{"ALL"}, h.CapDrop, service)
			require.Contains(t, h.SecurityOpt, "no-new-privileges", service)
			require.Positive(t, h.Memory, service)
			require.Positive(t, h.PidsLimit, service)
			for port, at := range c.NetworkSettings.Ports {
				if service != "proxy" {
					require.Empty(t, at, "%s publishes %s", service, port)
				}
				for _, binding := range at {
					require.Equal(t, "127.0.0.1", binding.HostIP)
				}
			}
			for _, label := range []string{"title", "description", "source", "licenses", "version", "revision"} {
				require.NotEmpty(t, c.Config.Labels["org.opencontainers.image."+label], "%s: %s", service, label)
			}
		}
	}
	worker := s.containers(t, "worker")[0]
	require.EqualValues(t, 1<<30, worker.HostConfig.ShmSize)
	require.Contains(t, worker.exec(t, "cat", "/proc/1/status"), "CapBnd:\t0000000000000000")
}

// sandbox looks at what the kernel says about the browser's processes. Those
// that show pages have users and process ids of their own, and one filter of
// system calls more than the container puts on everybody.
func (s *stack) sandbox(t *testing.T) {
	b := harness.Connect(t, s.url(0))
	b.OpenPage(t, example)
	// Only the browser's main process talks over a pipe and is of no type.
	commands := regexp.MustCompile(`(?m)^(\d+) (.*)$`).FindAllStringSubmatch(s.containers(t, "worker")[0].exec(t, "sh", "-c",
		`for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr '\0' ' ' <$p/cmdline 2>/dev/null)"; done`), -1)
	var browsers, pages []int
	for _, c := range commands {
		pid, err := strconv.Atoi(c[1])
		require.NoError(t, err)
		switch {
		case strings.Contains(c[2], "--type=renderer"):
			pages = append(pages, pid)
		case strings.Contains(c[2], "--remote-debugging-pipe") && !strings.Contains(c[2], "--type="):
			browsers = append(browsers, pid)
		}
	}
	kernel := func(pid int, file string) string {
		return s.containers(t, "worker")[0].exec(t, "cat", fmt.Sprintf("/proc/%d/%s", pid, file))
	}
	line := func(status, name string) string {
		found := regexp.MustCompile(`(?m)^` + name + `:\s+(.*)$`).FindStringSubmatch(status)
		require.NotNil(t, found, "%s in %s", name, status)
		return found[1]
	}
	require.NotEmpty(t, browsers)
	for _, pid := range browsers {
		require.Equal(t, "1", line(kernel(pid, "status"), "Seccomp_filters"), "the container's own filter")
		require.Len(t, strings.Fields(line(kernel(pid, "status"), "NSpid")), 1)
		require.NotContains(t, kernel(pid, "cmdline"), "--no-sandbox")
	}
	require.NotEmpty(t, pages)
	for _, pid := range pages {
		status := kernel(pid, "status")
		require.Equal(t, "2", line(status, "Seccomp"))
		require.Equal(t, "2", line(status, "Seccomp_filters"), "Chromium's filter is not there")
		require.Greater(t, len(strings.Fields(line(status, "NSpid"))), 1, "the renderer sees the container's processes")
		require.Equal(t, "1", line(status, "NoNewPrivs"))
		require.Equal(t, "0000000000000000", line(status, "CapEff"))
		require.Equal(t, []string{"10001", "10001", "1"}, strings.Fields(kernel(pid, "uid_map")), "the renderer shares the container's users")
	}
}

// events are read by a user who may do nothing else.
func (s *stack) events(t *testing.T) {
	out := s.compose(t, "--profile", "events", "run", "--rm", "--no-deps", "--no-TTY", "events", "tail", "--from", "0", "--no-follow")
	require.Contains(t, out, "worker.joined")
	require.Contains(t, out, "session.ended")
}

// threeWorkers: each announces an address of its own without being told to, and
// gets a session.
func (s *stack) threeWorkers(t *testing.T) {
	s.up(t, "--no-recreate", "--scale", "worker=3")
	var want []string
	for _, c := range s.containers(t, "worker") {
		want = append(want, c.Config.Hostname)
	}
	require.Len(t, want, 3)
	var got []string
	for range 3 {
		_, host := s.connect(t, 0)
		got = append(got, host)
	}
	require.ElementsMatch(t, want, got)
}

// connect gets a session and tells the name of the container that its browser is
// in, as the events have it.
func (s *stack) connect(t *testing.T, proxy int) (*harness.Browser, string) {
	t.Helper()
	s.named++
	name := fmt.Sprintf("named-%d", s.named)
	b := harness.Connect(t, s.url(proxy)+"/?name="+name)
	lines := s.compose(t, "--profile", "events", "run", "--rm", "--no-deps", "--no-TTY", "events", "tail", "--json", "--from", "0", "--no-follow")
	endpoints, at := map[string]string{}, ""
	for line := range strings.Lines(lines) {
		var e event.Event
		if !strings.HasPrefix(line, "{") {
			continue
		}
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		switch {
		case e.Type == event.WorkerJoined:
			endpoints[e.Worker.ID], _, _ = strings.Cut(e.Worker.Endpoint, ":")
		case e.Type == event.SessionStarted && e.Session.Name == name:
			at = endpoints[e.Session.Worker]
		}
	}
	for _, c := range s.containers(t, "worker") {
		for _, n := range c.NetworkSettings.Networks {
			if n.IPAddress == at {
				return b, c.Config.Hostname
			}
		}
	}
	t.Fatalf("no worker's container has the address %q of the session %s", at, name)
	return nil, ""
}

// hostilePage tries Redis, the admin ports, the proxy and all workers' ports, by
// name and by every address, its own worker's loopback included.
func (s *stack) hostilePage(t *testing.T, pages site) {
	targets := s.targets(t)
	// The page must be able to see something, or its seeing nothing would say nothing.
	page := harness.Connect(t, s.url(0)).OpenPage(t, "http://example.com/")
	saw := page.Evaluate(t, "attack("+harness.List(pages.plain+"/open", pages.plain+"/open.svg")+")")
	require.Contains(t, saw, "fetch of "+pages.plain+"/open: 200 open")
	require.Contains(t, saw, "socket of "+pages.plain+"/open: a WebSocket opened")
	require.Contains(t, saw, "image of "+pages.plain+"/open.svg: an image of 1")
	for some := range slices.Chunk(targets, 20) {
		require.Empty(t, page.Evaluate(t, "attack("+harness.List(some...)+")"), "the page got something")
	}

	// Whoever drives the page may open an address itself, which no rule among origins stands against.
	shown := s.open(t, targets)
	for target, text := range shown {
		require.NotRegexp(t, `:(6379|9090|9091)\b`, target, "it shows %s", text)
		require.NotRegexp(t, `pwdist_|go_goroutines|goroutine|redis_version|NOAUTH`, text, target)
	}
	require.Contains(t, shown["proxy:8080/json"], "wsEndpointPath", "the proxy's door is there for everybody")
	s.page(t)
}

// targets are what there is in the pool, under every name and address.
func (s *stack) targets(t *testing.T) []string {
	t.Helper()
	found := []string{"proxy:8080/json", "proxy:8080/chromium", "proxy:9090/metrics", "worker:9091/metrics", "127.0.0.1:9091/debug/pprof/heap"}
	hosts := []string{"127.0.0.1", "redis", "proxy", "worker"}
	for _, service := range []string{"redis", "proxy", "worker"} {
		for _, c := range s.containers(t, service) {
			for _, network := range c.NetworkSettings.Networks {
				hosts = append(hosts, network.IPAddress)
				if network.Gateway != "" {
					found = append(found, fmt.Sprintf("%s:%d", network.Gateway, s.port), network.Gateway+":6379")
				}
			}
		}
	}
	for _, host := range hosts {
		for _, port := range []string{"6379", "8080", "9090", "9091", "3131"} {
			found = append(found, host+":"+port)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// open has tabs of one session open these addresses, and returns what they show
// where they show anything.
func (s *stack) open(t *testing.T, targets []string) map[string]string {
	t.Helper()
	var (
		mu    sync.Mutex
		shown = map[string]string{}
		tabs  sync.WaitGroup
	)
	b := harness.Connect(t, s.url(0))
	for some := range slices.Chunk(targets, len(targets)/8+1) {
		tab := b.NewContext(t).NewPage(t)
		tabs.Go(func() {
			for _, target := range some {
				if err := tab.GotoWithin(3*time.Second, "http://"+target); err != nil {
					continue
				}
				text, err := tab.Text()
				mu.Lock()
				if shown[target] = text; err != nil {
					shown[target] = err.Error()
				}
				mu.Unlock()
			}
		})
	}
	tabs.Wait()
	return shown
}

// egressGuard: with the settings of the file, a page sees nothing of the pool,
// and whoever opens an address of it is told why not. What is allowed is open.
func (s *stack) egressGuard(t *testing.T, pages site) {
	delete(s.env, "PWDIST_EGRESS__GUARD")
	s.env["PWDIST_EGRESS__ALLOW"] = pages.plain
	t.Cleanup(func() { // when the sessions have been closed, for which a worker that stops would wait
		s.env["PWDIST_EGRESS__GUARD"] = "false"
		delete(s.env, "PWDIST_EGRESS__ALLOW")
		s.up(t)
	})
	s.up(t)
	logs := s.compose(t, "logs", "--no-color", "--no-log-prefix", "worker")
	require.NotContains(t, logs, "not confined in all", "the profile of system calls keeps the worker from confining its browser")

	targets := s.targets(t)
	page := harness.Connect(t, s.url(0)).OpenPage(t, "http://"+pages.plain+"/attack")
	saw := page.Evaluate(t, "attack("+harness.List(pages.plain+"/open", pages.plain+"/open.svg")+")")
	require.Contains(t, saw, "fetch of "+pages.plain+"/open: 200 open")
	require.Contains(t, saw, "socket of "+pages.plain+"/open: a WebSocket opened")
	require.Contains(t, saw, "image of "+pages.plain+"/open.svg: an image of 1")
	for some := range slices.Chunk(targets, 20) {
		require.Empty(t, page.Evaluate(t, "attack("+harness.List(some...)+")"), "the page got something")
	}
	for target, text := range s.open(t, targets) {
		require.Contains(t, text, "The pool's egress guard refuses", target)
	}
	whys := map[string]string{
		"redis:6379": "a service of the pool itself", "127.0.0.1:3131": "a service of the pool itself",
		"proxy:9090": "egress.deny", "proxy:8080": "egress.deny", "worker:3131": "a service of the pool itself", "169.254.169.254": "metadata",
	}
	said := s.open(t, slices.Collect(maps.Keys(whys))) // in one session, as there are five slots
	for target, why := range whys {
		require.Contains(t, said[target], why, target)
	}
	s.confined(t)
}

// confined looks at the browser's main process: a filter of ours above the
// container's own. Its renderers have Chromium's sandbox as well.
func (s *stack) confined(t *testing.T) {
	t.Helper()
	worker := s.containers(t, "worker")[0]
	filters := worker.exec(t, "sh", "-c", `for p in /proc/[0-9]*; do
		case "$(tr '\0' ' ' <$p/cmdline 2>/dev/null)" in
			*--type=renderer*) echo "renderer $(grep Seccomp_filters: $p/status)";;
			*--type=*) ;;
			*--remote-debugging-pipe*) echo "browser $(grep Seccomp_filters: $p/status)";;
		esac; done; true`)
	require.Regexp(t, `browser Seccomp_filters:\s2`, filters)
	require.Regexp(t, `renderer Seccomp_filters:\s3`, filters)
}

// redisWithoutPassword speaks Redis' protocol from inside a worker's container,
// which is more than a page can.
func (s *stack) redisWithoutPassword(t *testing.T) {
	const script = `
		const net = require('net');
		const lines = ['PING', 'INFO', 'KEYS *', 'HGETALL {pwdist:default}:endpoints', 'EVAL "return 1" 0', 'ACL LIST', 'CONFIG GET *',
			'AUTH default default', 'AUTH worker worker', 'FLUSHALL', 'SUBSCRIBE x', 'HELLO 3'];
		const c = net.connect(6379, 'redis', () => c.end(lines.join('\r\n') + '\r\n'));
		c.on('data', d => process.stdout.write(d));`
	answers := strings.Split(s.containers(t, "worker")[0].exec(t, "node", "-e", script), "\n")
	require.Greater(t, len(answers), 8)
	for _, answer := range answers {
		require.Regexp(t, `^-(NOAUTH|WRONGPASS) `, answer)
	}
}

// twoProxies share the pool, each at a published port of its own, and both
// under one name for other containers.
func (s *stack) twoProxies(t *testing.T) {
	s.env["PWDIST_PORT"] = fmt.Sprintf("%d-%d", s.port, s.port+1)
	defer s.onePort()
	s.up(t, "--scale", "worker=3", "--scale", "proxy=2")
	require.Len(t, s.containers(t, "proxy"), 2)
	var hosts []string
	var browsers []*harness.Browser
	for n := range 3 {
		b, host := s.connect(t, n%2)
		browsers, hosts = append(browsers, b), append(hosts, host)
	}
	slices.Sort(hosts)
	require.Len(t, slices.Compact(hosts), 3, "the second proxy knows of the first one's sessions")
	s.clientInContainer(t)
	for _, b := range browsers {
		require.NoError(t, b.Close()) // who is to go would wait for them
	}
	s.onePort()
	s.up(t)
}

// workerKilled: the engine starts it again, and clients are served meanwhile or
// wait.
func (s *stack) workerKilled(t *testing.T) {
	victim := harness.Connect(t, s.url(0))
	before := s.containers(t, "worker")[0]
	_, err := output(exec.Command("docker", "exec", before.ID, "sh", "-c",
		`for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != pwdist-worker ] || kill -9 "${p#/proc/}"; done`))
	// The shell ends with its container, if it has not ended before.
	if died := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &died) || died.ExitCode() != 137) {
		t.Fatal(err)
	}
	victim.AwaitLost(t)
	s.page(t)
	after := s.containers(t, "worker")[0]
	require.Equal(t, before.ID, after.ID)
	require.Equal(t, before.RestartCount+1, after.RestartCount)
}

// recycling: a worker with a lifetime of three sessions goes after them, and
// the engine starts a fresh one.
func (s *stack) recycling(t *testing.T) {
	s.env["MAX_LIFETIME_SESSIONS"] = "3"
	defer delete(s.env, "MAX_LIFETIME_SESSIONS")
	s.up(t)
	before := s.containers(t, "worker")[0]
	for range 3 {
		require.Zero(t, s.containers(t, "worker")[0].RestartCount)
		s.page(t)
	}
	s.page(t)
	after := s.containers(t, "worker")[0]
	require.Equal(t, before.ID, after.ID)
	require.Equal(t, 1, after.RestartCount)
	require.Regexp(t, "lifetime", s.compose(t, "logs", "--no-color", "worker"))
	delete(s.env, "MAX_LIFETIME_SESSIONS")
	s.up(t)
}

// stopDrains: a session goes on after `docker compose stop`, which ends when the
// session has.
func (s *stack) stopDrains(t *testing.T) {
	before := map[string]string{}
	for _, service := range []string{"redis", "proxy", "worker"} {
		before[service] = s.containers(t, service)[0].ID
	}
	b := harness.Connect(t, s.url(0))
	page := b.OpenPage(t, example)

	stopped := make(chan error, 1)
	var once sync.WaitGroup
	once.Go(func() {
		_, err := s.tryCompose(harness.Root(), "stop")
		stopped <- err
	})
	defer once.Wait()
	for _, service := range []string{"proxy", "worker"} {
		harness.Await(t, service+" is draining", func() bool {
			return strings.Contains(s.compose(t, "logs", "--no-color", service), "draining")
		})
	}
	_, err := harness.Visit(t, s.url(0), example)
	require.Error(t, err, "nobody new is let in")
	require.NoError(t, page.Goto(example+"?still"))
	title, err := page.Title()
	require.NoError(t, err)
	require.Equal(t, harness.ExampleTitle, title)
	require.Empty(t, stopped, "it has not waited for the session")

	require.NoError(t, b.Close())
	select {
	case err := <-stopped:
		require.NoError(t, err)
	case <-time.After(harness.Patience):
		t.Fatal("docker compose stop does not end although no session is left")
	}
	for service, id := range before {
		require.Equal(t, "0", docker(t, "inspect", id, "--format", "{{.State.ExitCode}}"), "the %s was killed", service)
	}
	s.up(t)
	s.page(t)
}

// noSecrets: the passwords are in no log, no description of a container and no
// environment of a process, least of all the browser's.
func (s *stack) noSecrets(t *testing.T) {
	redis := s.containers(t, "redis")[0]
	passwords := map[string]string{}
	for _, user := range []string{"proxy", "worker", "consumer"} {
		passwords[user] = redis.exec(t, "cat", "/credentials/"+user+"/password")
		require.Len(t, passwords[user], 64)
	}
	require.NotEqual(t, passwords["proxy"], passwords["worker"])

	places := map[string]string{"docker compose logs": s.compose(t, "logs", "--no-color"), "docker compose config": s.compose(t, "config")}
	for service := range passwords {
		if service == "consumer" {
			service = "redis"
		}
		for _, c := range s.containers(t, service) {
			places["docker inspect of the "+service] = docker(t, "inspect", c.ID)
			places["docker top of the "+service] = docker(t, "top", c.ID, "-eo", "pid,args")
		}
	}
	worker := s.containers(t, "worker")[0]
	places["environments in the worker"] = worker.exec(t, "sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
	for place, text := range places {
		for user, password := range passwords {
			require.NotContains(t, text, password, "the password of %s is in %s", user, place)
		}
	}
	require.Contains(t, places["environments in the worker"], "PWDIST_REDIS__PASSWORD_FILE=")
	browsers := worker.exec(t, "sh", "-c",
		`for p in /proc/[0-9]*; do case $(cat $p/comm) in *chrom*|*headless*|node*) tr '\0' '\n' <$p/environ;; esac; done 2>/dev/null; true`)
	require.Contains(t, browsers, "TMPDIR=")
	require.NotRegexp(t, `(?m)^(PWDIST_|REDIS_)`, browsers)
}
