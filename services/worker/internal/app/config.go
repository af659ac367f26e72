package app

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/browser"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/gate"
	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

// Config holds the settings of a worker.
type Config struct {
	Pool      string            `koanf:"pool" doc:"Name of the pool; proxies and workers of one pool share it."`
	Listen    string            `koanf:"listen" doc:"Address of the port where proxies connect; a number alone is a port."`
	Advertise string            `koanf:"advertise" doc:"Host, or host:port, under which proxies reach this worker. Empty = the address from which this machine reaches Redis, with the port of listen." example:"worker-7.internal"`
	Slots     int               `koanf:"slots" doc:"Sessions that run at the same time."`
	Drain     time.Duration     `koanf:"drain" doc:"How long running sessions may go on after SIGTERM; what is left then is closed with code 1001."`
	Labels    map[string]string `koanf:"labels" doc:"What clients can ask for with ?require=key=value." example:"region=eu,gpu=no"`

	Lifetime   Lifetime      `koanf:"lifetime"`
	Browser    Browser       `koanf:"browser"`
	Playwright Playwright    `koanf:"playwright"`
	Relay      Relay         `koanf:"relay"`
	Guard      Guard         `koanf:"guard"`
	Egress     Egress        `koanf:"egress"`
	Redis      config.Redis  `koanf:"redis"`
	Timing     config.Timing `koanf:"timing"`
	Events     config.Events `koanf:"events"`
	Ended      config.Ended  `koanf:"ended"`
	Admin      config.Admin  `koanf:"admin"`
	Log        config.Log    `koanf:"log"`
}

// Lifetime says when a worker makes room for a fresh one.
type Lifetime struct {
	Sessions int     `koanf:"sessions" doc:"Sessions after which the worker ends itself with status 0, for its supervisor to start a fresh one. 0 = never."`
	Jitter   float64 `koanf:"jitter" doc:"Part of lifetime.sessions by which it varies from worker to worker, so that they do not all go at once. 0 to 1."`
}

// Browser says what is served.
type Browser struct {
	Type         string        `koanf:"type" doc:"chromium, firefox or webkit."`
	Executable   string        `koanf:"executable" doc:"Path or name of the browser. Empty = Playwright's own build, else what the system has: for a headless Chromium the headless shell first."`
	Channel      string        `koanf:"channel" doc:"Channel of Playwright's launch options, such as chrome or moz-firefox."`
	Ffmpeg       string        `koanf:"ffmpeg" doc:"Path or name of the ffmpeg, with libvpx, that records videos. Empty = Playwright's own build, else the system's ffmpeg where there is one; none = this worker records no videos." example:"/usr/bin/ffmpeg"`
	Headless     bool          `koanf:"headless" doc:"Whether the browser runs without a window."`
	Args         []string      `koanf:"args" doc:"Further arguments of the browser. As a JSON list where one holds a comma." example:"[\"--lang=en\",\"--window-size=1280,720\"]"`
	Sandbox      bool          `koanf:"sandbox" doc:"Chromium's own sandbox. It needs user namespaces and does not run as root."`
	Confine      string        `koanf:"confine" doc:"Whether the kernel (Landlock, seccomp) keeps browser and Playwright server from files that they do not need, and under egress.guard from every connection but the guard's: on, off, or auto for as much as this kernel can."`
	Files        []string      `koanf:"files" doc:"Files and folders that the browser may read although browser.confine would keep it from them, such as extensions that browser.args name." example:"/srv/extensions"`
	Prepare      string        `koanf:"prepare" doc:"What the browser has ready for the next session where the last two of a kind of client began alike, with a new context of the same options and a page: page, context, or nothing. With a window no page, and nothing but in a Chromium. Needs guard.enabled."`
	StartTimeout time.Duration `koanf:"start_timeout" doc:"How long the browser may take to start, before it is tried again."`

	ProbeInterval time.Duration `koanf:"probe_interval" doc:"Time between probes, which open a page beside the sessions; a browser that fails two in a row is killed and started again. It varies by a fifth. 0 = no probes."`
	MemoryLimit   string        `koanf:"memory_limit" doc:"Memory of the browser and its server, what they share counted once, and their scratch files where TMPDIR is in memory (tmpfs), above which the worker takes no new sessions, finishes those it has, and ends itself with status 0 for a fresh one. 0 = off." example:"2GiB"`
	ProbeTimeout  time.Duration `koanf:"probe_timeout" doc:"How long a probe may take, not counting time in which something waited for the CPU, a disk or memory (up to six times as long in all)."`
}

// Playwright says where the server is that drives the browser.
type Playwright struct {
	Dir  string `koanf:"dir" doc:"Folder that holds node_modules/playwright-core. Empty = services/worker/playwright of the checkout, or /opt/pwdist/playwright."`
	Node string `koanf:"node" doc:"Path or name of Node.js, version 20 or later."`
}

// Relay bounds what a session may take.
type Relay struct {
	Stall time.Duration `koanf:"stall" doc:"Playwright's server is cut off when it takes none of the bytes waiting for it for so long; a proxy, which judges the client itself and reads in bursts, for ten times as long."`
}

// Guard says what clients may call on the browser that they share.
type Guard struct {
	Enabled     bool   `koanf:"enabled" doc:"Whether the worker reads what clients call, and refuses what reaches beyond their own session."`
	CDP         string `koanf:"cdp" doc:"CDP sessions of pages: filter lets through what concerns the page only, refuse nothing."`
	Clipboard   string `koanf:"clipboard" doc:"Clipboard of a Chromium: session gives each context its own, share all of a browser's sessions the same one."`
	ClientProxy string `koanf:"client_proxy" doc:"Whether contexts may have a proxy of the client's own, which goes around what keeps pages from private addresses: allow or refuse."`
}

// Defaults returns the settings that nobody has set.
func Defaults() Config {
	return Config{
		Pool: "default", Listen: ":3131", Slots: 5, Drain: 300 * time.Second, Labels: map[string]string{},
		Lifetime:   Lifetime{Sessions: 50, Jitter: 0.15},
		Browser:    Browser{Type: browser.Chromium, Headless: true, Args: []string{}, Confine: browser.ConfineAuto, Prepare: gate.PreparePage, Files: []string{}, StartTimeout: 60 * time.Second, ProbeInterval: 30 * time.Second, ProbeTimeout: 10 * time.Second, MemoryLimit: "0"},
		Playwright: Playwright{Node: "node"},
		Relay:      Relay{Stall: 120 * time.Second},
		Guard:      Guard{Enabled: true, CDP: guard.CDPFilter, Clipboard: clipboardSession, ClientProxy: refuse},
		Egress:     Egress{Allow: []string{}, Deny: []string{}},
		Redis:      config.DefaultRedis(),
		Timing:     config.DefaultTiming(),
		Events:     config.DefaultEvents(),
		Ended:      config.DefaultEnded(),
		// On loopback, because profiles are not for strangers; containers set it.
		Admin: config.Admin{Listen: "127.0.0.1:9091"},
		Log:   config.DefaultLog(),
	}
}

// Load reads the settings.
func Load(args, environ []string, stdout io.Writer) (Config, []string, config.Outcome, error) {
	aliases := config.CommonAliases()
	maps.Copy(aliases, map[string]string{
		"PORT":                    "listen",
		"PRIVATE_HOSTNAME":        "advertise",
		"MAX_CONCURRENT_SESSIONS": "slots",
		"MAX_LIFETIME_SESSIONS":   "lifetime.sessions",
		"BROWSER_TYPE":            "browser.type",
		"HEADLESS":                "browser.headless",
	})
	return config.Load(config.Spec[Config]{
		Program: "pwdist-worker", Version: telemetry.Version,
		About:    "A worker of a pool of Playwright browsers: runs one browser and serves its sessions.",
		Defaults: Defaults(), Aliases: aliases, Validate: validate,
	}, args, environ, stdout)
}

const allow, refuse = "allow", "refuse"

// What guard.clipboard can be.
const clipboardSession, clipboardShare = "session", "share"

func validate(c *Config) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if _, err := strconv.Atoi(c.Listen); err == nil {
		c.Listen = ":" + c.Listen
	}
	errs = append(errs, config.PoolName(c.Pool), config.ListenAddress("listen", c.Listen), checkAdvertise(c.Advertise))
	check(c.Slots >= 1, "slots must be at least 1, not %d", c.Slots)
	check(c.Drain >= 0, "drain must not be negative, not %s", c.Drain)
	for k, v := range c.Labels {
		check(state.ValidLabel(k, v), "labels takes %s, as clients can require it; not %q", state.LabelRule, k+"="+v)
	}
	check(c.Lifetime.Sessions >= 0, "lifetime.sessions must not be negative, not %d (0 = off)", c.Lifetime.Sessions)
	check(c.Lifetime.Jitter >= 0 && c.Lifetime.Jitter <= 1, "lifetime.jitter must be from 0 to 1, not %g", c.Lifetime.Jitter)
	types := []string{browser.Chromium, browser.Firefox, browser.WebKit}
	check(slices.Contains(types, c.Browser.Type), "browser.type must be %s, not %q", strings.Join(types, ", "), c.Browser.Type)
	check(slices.Contains([]string{browser.ConfineAuto, browser.ConfineOn, browser.ConfineOff}, c.Browser.Confine), "browser.confine must be auto, on or off, not %q", c.Browser.Confine)
	check(slices.Contains([]string{gate.PreparePage, gate.PrepareContext, gate.PrepareNothing}, c.Browser.Prepare), "browser.prepare must be page, context or nothing, not %q", c.Browser.Prepare)
	for _, f := range c.Browser.Files {
		check(filepath.IsAbs(f), "browser.files: %q is no absolute path", f)
	}
	check(c.Browser.StartTimeout >= time.Second, "browser.start_timeout must be at least 1s, not %s", c.Browser.StartTimeout)
	check(c.Browser.ProbeInterval == 0 || c.Browser.ProbeInterval >= time.Second, "browser.probe_interval must be at least 1s or 0 = off, not %s", c.Browser.ProbeInterval)
	check(c.Browser.ProbeTimeout >= time.Second, "browser.probe_timeout must be at least 1s, not %s", c.Browser.ProbeTimeout)
	_, err := parseBytes(c.Browser.MemoryLimit)
	check(err == nil, "browser.memory_limit: %w", err)
	check(c.Playwright.Node != "", "playwright.node is empty: set it to the path or name of Node.js")
	check(c.Relay.Stall >= time.Second, "relay.stall must be at least 1s, not %s", c.Relay.Stall)
	check(c.Guard.CDP == guard.CDPFilter || c.Guard.CDP == guard.CDPRefuse, "guard.cdp must be filter or refuse, not %q", c.Guard.CDP)
	check(!c.Guard.Enabled || !slices.ContainsFunc(c.Browser.Args, debugs), "browser.args opens a debugging port, by which every page of the browser can be reached around the guard: leave --remote-debugging-port out, or set guard.enabled to false where all clients trust each other")
	check(c.Guard.Clipboard == clipboardSession || c.Guard.Clipboard == clipboardShare, "guard.clipboard must be session or share, not %q", c.Guard.Clipboard)
	check(!c.Guard.Enabled || !slices.ContainsFunc(c.Browser.Args, opensFiles), "browser.args has --disable-web-security, with which a page goes to file: URLs by itself and reads what other sessions have on this worker's disk: leave it out (clients have bypassCSP, and page.route for other headers), or set guard.enabled to false where all clients trust each other")
	check(c.Guard.ClientProxy == allow || c.Guard.ClientProxy == refuse, "guard.client_proxy must be allow or refuse, not %q", c.Guard.ClientProxy)
	return errors.Join(append(errs, validateEgress(c))...)
}

// debugs tells whether an argument has the browser listen for debuggers beside
// its pipe.
func debugs(arg string) bool {
	return strings.HasPrefix(strings.TrimLeft(arg, "-"), "remote-debugging-") && strings.Trim(arg, "-") != "remote-debugging-pipe"
}

// opensFiles tells whether an argument has Chromium let pages of the network go
// to local files.
func opensFiles(arg string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return name == "disable-web-security"
}

func checkAdvertise(s string) error {
	host, port := splitAdvertise(s)
	bad := strings.ContainsAny(host, "/@ \t") || s != "" && host == ""
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		bad = bad || err != nil || n == 0
	}
	if bad {
		return fmt.Errorf("advertise must be a host or host:port that proxies can dial, such as worker-7.internal:3131, not %q", s)
	}
	return nil
}

// splitAdvertise tells host and port apart; an IPv6 address without a port
// needs no brackets.
func splitAdvertise(s string) (host, port string) {
	if net.ParseIP(s) != nil {
		return s, ""
	}
	if h, p, err := net.SplitHostPort(s); err == nil {
		return h, p
	}
	return strings.Trim(s, "[]"), ""
}

// options are the numbers the pool's scripts work with.
func (c Config) options() state.Options {
	o := state.DefaultOptions()
	o.Heartbeat, o.ProcessLease, o.StartLease = c.Timing.Heartbeat, c.Timing.ProcessLease, c.Timing.StartLease
	o.EventsMaxEntries, o.EventsMaxAge = c.Events.MaxEntries, c.Events.MaxAge
	o.EndedMax, o.EndedAge = c.Ended.MaxEntries, c.Ended.MaxAge
	return o
}
