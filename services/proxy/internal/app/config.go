package app

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/edge"
	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/config"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/shared/telemetry"
)

// Config holds the settings of a proxy.
type Config struct {
	Pool           string        `koanf:"pool" doc:"Name of the pool; proxies and workers of one pool share it."`
	Listen         string        `koanf:"listen" doc:"Address of the public port, where Playwright clients connect."`
	DefaultBrowser string        `koanf:"default_browser" doc:"Browser of a client that names none: chromium, firefox or webkit."`
	AllowedOrigins []string      `koanf:"allowed_origins" doc:"Web pages that may connect, by their Origin; others are refused so that no page a user visits can reach the pool. * allows all."`
	TrustedProxies []string      `koanf:"trusted_proxies" doc:"Addresses and ranges of the HTTP balancers in front. What they append to X-Forwarded-For is the client's address, in limits, log and events. From anybody else the header is ignored."`
	Handover       Handover      `koanf:"handover"`
	DrainDelay     time.Duration `koanf:"drain_delay" doc:"How long a proxy that gets SIGTERM goes on serving new clients, not ready any more, until it closes its port: as long as the balancer in front takes to notice. 0 where there is none."`
	Drain          time.Duration `koanf:"drain" doc:"How long running sessions may go on after SIGTERM; what is left then is closed with code 1001."`

	Tokens  tokens.Config `koanf:"tokens"`
	Limits  Limits        `koanf:"limits"`
	Queue   Queue         `koanf:"queue"`
	Dial    Dial          `koanf:"dial"`
	Session Session       `koanf:"session"`
	Relay   Relay         `koanf:"relay"`
	Redis   config.Redis  `koanf:"redis"`
	Timing  config.Timing `koanf:"timing"`
	Events  config.Events `koanf:"events"`
	Ended   config.Ended  `koanf:"ended"`
	Admin   config.Admin  `koanf:"admin"`
	Log     config.Log    `koanf:"log"`
}

// Limits bounds what strangers may take of the public port.
type Limits struct {
	Request  time.Duration `koanf:"request" doc:"How long a client may take from connecting to its complete request."`
	Pending  int           `koanf:"pending" doc:"Connections of one address that have not sent their whole request after a second; above it the oldest is closed. Ten times as many may be in their first second. Loopback is not counted. 0 = no limit."`
	Failures int           `koanf:"failures" doc:"Missing or wrong tokens of one address that are answered and logged in a minute; further ones are told to stop, with 429. 0 = no limit."`
}

// Queue bounds the waiting for a free slot.
type Queue struct {
	Size    int           `koanf:"size" doc:"Most clients that wait in the whole pool; further ones are refused. 0 = nobody waits."`
	Wait    time.Duration `koanf:"wait" doc:"How long a client waits that names no ?timeout=."`
	MaxWait time.Duration `koanf:"max_wait" doc:"Longest ?timeout= that is granted; a longer one is cut to it."`
}

// Dial bounds connecting to workers.
type Dial struct {
	Timeout  time.Duration `koanf:"timeout" doc:"How long a worker may take to accept a session. Less than timing.start_lease."`
	Attempts int           `koanf:"attempts" doc:"How many workers are tried for one client before it is told that none could be reached."`
}

// Handover is how a proxy takes over from another one on the same machine.
type Handover struct {
	Socket string `koanf:"socket" doc:"Path of a Unix socket by which a proxy that is started takes the place of the one that runs: it gets its ports, and no client is refused meanwhile. Empty = a restart closes the ports."`
}

// Session bounds how long one may last.
type Session struct {
	Idle        time.Duration `koanf:"idle" doc:"A session whose client has sent nothing for so long is ended, with 1008 and the reason idle_timeout. 0 = never."`
	MaxDuration time.Duration `koanf:"max_duration" doc:"A session that has run for so long is ended, with 1008 and the reason max_duration. 0 = never."`
}

// Relay bounds what a session may take.
type Relay struct {
	Stall   time.Duration `koanf:"stall" doc:"A side that takes none of the bytes waiting for it for so long is cut off."`
	Ping    time.Duration `koanf:"ping" doc:"A client that says nothing for so long is sent a WebSocket ping, which also keeps balancers from cutting idle sessions; a worker at every fourth such time. 0 = no pings; the kernel's TCP keep-alive then finds peers that are gone, in four minutes."`
	Dead    time.Duration `koanf:"dead" doc:"A side that answers no ping for so long, with nothing else waiting for it, is given up."`
	Pollers int           `koanf:"pollers" doc:"Event loops, and processors that the proxy runs on while clients do not come in crowds, unless GOMAXPROCS is set. 0 = one for every two processors of the machine."`
}

// Defaults returns the settings that nobody has set.
func Defaults() Config {
	return Config{
		Pool: "default", Listen: ":8080", DefaultBrowser: "chromium", Drain: 300 * time.Second,
		Limits: Limits{Request: 10 * time.Second, Pending: 100, Failures: 20},
		Queue:  Queue{Size: 100, Wait: 30 * time.Second, MaxWait: 10 * time.Minute},
		Dial:   Dial{Timeout: 5 * time.Second, Attempts: 5},
		Relay:  Relay{Stall: 120 * time.Second, Ping: 30 * time.Second, Dead: 60 * time.Second},
		Redis:  config.DefaultRedis(),
		Timing: config.DefaultTiming(),
		Events: config.DefaultEvents(),
		Ended:  config.DefaultEnded(),
		// On loopback, because profiles are not for strangers; containers set it.
		Admin: config.Admin{Listen: "127.0.0.1:9090"},
		Log:   config.DefaultLog(),
	}
}

// Load reads the settings.
func Load(args, environ []string, stdout io.Writer) (Config, []string, config.Outcome, error) {
	aliases := config.CommonAliases()
	aliases["PWDIST_TOKENS"] = "tokens.list"
	aliases["MAX_QUEUE_SIZE"] = "queue.size"
	aliases["QUEUE_WAIT_TIMEOUT"] = "queue.wait"
	aliases["DEFAULT_BROWSER_TYPE"] = "default_browser"
	return config.Load(config.Spec[Config]{
		Program: "pwdist-proxy", Version: telemetry.Version,
		About:    "The public endpoint of a pool of Playwright browsers.",
		Defaults: Defaults(), Aliases: aliases, Validate: validate,
	}, args, environ, stdout)
}

func validate(c *Config) error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, config.PoolName(c.Pool), config.ListenAddress("listen", c.Listen))
	check(c.DefaultBrowser == "chromium" || c.DefaultBrowser == "firefox" || c.DefaultBrowser == "webkit",
		"default_browser must be chromium, firefox or webkit, not %q", c.DefaultBrowser)
	for _, o := range c.AllowedOrigins {
		check(o == "*" || strings.Contains(o, "://"), "allowed_origins: %q is no origin: use the form https://app.example.com, or *", o)
	}
	for _, text := range c.TrustedProxies {
		_, err := edge.ParseTrusted([]string{text})
		check(err == nil, "trusted_proxies: %w", err)
	}
	if _, err := c.Tokens.Read(); err != nil {
		errs = append(errs, err)
	}
	check(c.Limits.Request >= 100*time.Millisecond, "limits.request must be at least 100ms, not %s", c.Limits.Request)
	check(c.Limits.Pending >= 0, "limits.pending must not be negative, not %d", c.Limits.Pending)
	check(c.Limits.Failures >= 0, "limits.failures must not be negative, not %d", c.Limits.Failures)
	check(c.Drain >= 0, "drain must not be negative, not %s", c.Drain)
	check(c.DrainDelay >= 0, "drain_delay must not be negative, not %s", c.DrainDelay)
	check(c.Queue.Size >= 0, "queue.size must not be negative, not %d", c.Queue.Size)
	check(c.Queue.Wait > 0, "queue.wait must be above 0, not %s", c.Queue.Wait)
	check(c.Queue.MaxWait >= c.Queue.Wait, "queue.max_wait (%s) must not be below queue.wait (%s)", c.Queue.MaxWait, c.Queue.Wait)
	check(c.Dial.Timeout > 0 && c.Dial.Timeout < c.Timing.StartLease,
		"dial.timeout (%s) must be above 0 and below timing.start_lease (%s)", c.Dial.Timeout, c.Timing.StartLease)
	check(c.Dial.Attempts >= 1, "dial.attempts must be at least 1, not %d", c.Dial.Attempts)
	check(c.Session.Idle == 0 || c.Session.Idle >= time.Second, "session.idle must be at least 1s, or 0 for never, not %s", c.Session.Idle)
	check(c.Session.MaxDuration == 0 || c.Session.MaxDuration >= time.Second, "session.max_duration must be at least 1s, or 0 for never, not %s", c.Session.MaxDuration)
	check(c.Relay.Stall >= time.Second, "relay.stall must be at least 1s, not %s", c.Relay.Stall)
	check(c.Relay.Ping == 0 || c.Relay.Ping >= time.Second, "relay.ping must be at least 1s, or 0 for none, not %s", c.Relay.Ping)
	check(c.Relay.Ping == 0 || c.Relay.Dead >= c.Relay.Ping, "relay.dead (%s) must not be below relay.ping (%s)", c.Relay.Dead, c.Relay.Ping)
	check(c.Relay.Pollers >= 0, "relay.pollers must not be negative, not %d", c.Relay.Pollers)
	return errors.Join(errs...)
}

// options are the numbers the pool's scripts work with.
func (c Config) options() state.Options {
	o := state.DefaultOptions()
	o.Heartbeat, o.ProcessLease, o.StartLease = c.Timing.Heartbeat, c.Timing.ProcessLease, c.Timing.StartLease
	o.EventsMaxEntries, o.EventsMaxAge = c.Events.MaxEntries, c.Events.MaxAge
	o.EndedMax, o.EndedAge = c.Ended.MaxEntries, c.Ended.MaxAge
	return o
}
