package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Redis says where the pool's Redis is. Group "redis".
type Redis struct {
	URL string `koanf:"url" doc:"Redis of the pool: redis:// or rediss:// (TLS) with [user:password@]host:port[/db], or unix:///path/to/socket[?db=0]. A password in a flag shows to everybody who lists the machine's processes: give it in the variable or by redis.password_file." example:"redis://user@redis.internal:6379/0"`
	// PasswordFile keeps the password out of the environment, which passes to
	// child processes and shows in what describes a container.
	PasswordFile string `koanf:"password_file" doc:"File that holds the password, such as a secret of Docker or Kubernetes; redis.url then names the user only. Read again for every new connection." example:"/run/secrets/redis-password"`
	CAFile       string `koanf:"ca_file" doc:"File of the certificate authorities (PEM) that vouch for the Redis of a rediss:// URL, instead of the system's." example:"/etc/pwdist/redis-ca.pem"`
	CertFile     string `koanf:"cert_file" doc:"File of the certificate (PEM) that this program shows to a Redis that asks for one, with redis.key_file. Read again for every new connection." example:"/etc/pwdist/redis-client.pem"`
	KeyFile      string `koanf:"key_file" doc:"File of the key (PEM) of redis.cert_file." example:"/etc/pwdist/redis-client.key"`
}

// DefaultRedis is a Redis on this machine.
func DefaultRedis() Redis { return Redis{URL: "redis://127.0.0.1:6379/0"} }

// Validate implements the check of [Load]. The URL's parts are checked where
// it is used.
func (r Redis) Validate() error {
	if strings.TrimSpace(r.URL) == "" {
		return errors.New("redis.url is empty: set it, for example to redis://127.0.0.1:6379/0")
	}
	if (r.CertFile == "") != (r.KeyFile == "") {
		return errors.New("redis.cert_file and redis.key_file go together: set both")
	}
	return nil
}

// Log says what is logged and how. Group "log".
type Log struct {
	Level  string `koanf:"level" doc:"Least severe level that is logged: debug, info, warn or error."`
	Format string `koanf:"format" doc:"console for people, json for machines, auto for console on a terminal and json elsewhere."`
}

// DefaultLog logs from info up, in the format that fits where it goes.
func DefaultLog() Log { return Log{Level: "info", Format: "auto"} }

// Validate implements the check of [Load].
func (l Log) Validate() error {
	return errors.Join(
		oneOf("log.level", l.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", l.Format, "auto", "console", "json"),
	)
}

func oneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	last := len(allowed) - 1
	return fmt.Errorf("%s must be %s or %s, not %q", key, strings.Join(allowed[:last], ", "), allowed[last], value)
}

// Timing is what all processes of a pool must agree on. Group "timing".
type Timing struct {
	Heartbeat    time.Duration `koanf:"heartbeat" doc:"How often a process renews its lease. The same for all processes of a pool."`
	ProcessLease time.Duration `koanf:"process_lease" doc:"How long a process that is not heard of counts as alive. More than two heartbeats."`
	StartLease   time.Duration `koanf:"start_lease" doc:"How long an assigned session may take to start on its worker. More than one heartbeat."`
}

// DefaultTiming notices a dead process after 15 s.
func DefaultTiming() Timing {
	return Timing{Heartbeat: 5 * time.Second, ProcessLease: 15 * time.Second, StartLease: 10 * time.Second}
}

// Validate implements the check of [Load].
func (t Timing) Validate() error {
	if t.Heartbeat <= 0 {
		return fmt.Errorf("timing.heartbeat must be above 0, not %s", t.Heartbeat)
	}
	var errs []error
	if t.ProcessLease <= 2*t.Heartbeat {
		errs = append(errs, fmt.Errorf("timing.process_lease (%s) must be more than two heartbeats (timing.heartbeat is %s): one lost heartbeat must not end a process", t.ProcessLease, t.Heartbeat))
	}
	if t.StartLease <= t.Heartbeat {
		errs = append(errs, fmt.Errorf("timing.start_lease (%s) must be more than one heartbeat (timing.heartbeat is %s)", t.StartLease, t.Heartbeat))
	}
	return errors.Join(errs...)
}

// Events bounds the pool's stream of events. Group "events".
type Events struct {
	MaxEntries int           `koanf:"max_entries" doc:"Most events that the stream keeps, about 300 bytes each."`
	MaxAge     time.Duration `koanf:"max_age" doc:"How long the stream keeps an event."`
}

// DefaultEvents keeps a week, within about 60 MB.
func DefaultEvents() Events { return Events{MaxEntries: 200_000, MaxAge: 7 * 24 * time.Hour} }

// Validate implements the check of [Load].
func (e Events) Validate() error {
	var errs []error
	if e.MaxEntries < 1 {
		errs = append(errs, fmt.Errorf("events.max_entries must be at least 1, not %d", e.MaxEntries))
	}
	if e.MaxAge < time.Minute {
		errs = append(errs, fmt.Errorf("events.max_age must be at least 1m, not %s", e.MaxAge))
	}
	return errors.Join(errs...)
}

// Ended bounds the records of ended sessions. Group "ended".
type Ended struct {
	MaxEntries int           `koanf:"max_entries" doc:"Most records of ended sessions that are kept in Redis."`
	MaxAge     time.Duration `koanf:"max_age" doc:"How long a record of an ended session is kept in Redis."`
}

// DefaultEnded keeps an hour of them.
func DefaultEnded() Ended { return Ended{MaxEntries: 50_000, MaxAge: time.Hour} }

// Validate implements the check of [Load].
func (e Ended) Validate() error {
	var errs []error
	if e.MaxEntries < 1 {
		errs = append(errs, fmt.Errorf("ended.max_entries must be at least 1, not %d", e.MaxEntries))
	}
	if e.MaxAge < time.Second {
		errs = append(errs, fmt.Errorf("ended.max_age must be at least 1s, not %s", e.MaxAge))
	}
	return errors.Join(errs...)
}

// Admin is the private port for health, metrics and profiles. Group "admin".
type Admin struct {
	Listen string `koanf:"listen" doc:"Address of the private port for health checks, metrics and profiles, or unix:///path for a socket that only this user can open; empty for none. Keep it inside your network."`
	// Token keeps strangers off an address that others reach. /healthz and
	// /readyz stay open.
	Token     string `koanf:"token" doc:"Secret that the admin port asks for, as 'Authorization: Bearer ...' or as the password of Basic; needed when admin.listen is neither on loopback nor a Unix socket. /healthz and /readyz need none." secret:"true"`
	TokenFile string `koanf:"token_file" doc:"File that holds admin.token instead, such as a secret of Docker or Kubernetes; read for every request." example:"/run/secrets/admin-token"`
	Insecure  bool   `koanf:"insecure" doc:"Let everybody in who reaches admin.listen, without admin.token. Only where the network keeps strangers out."`
}

// DefaultAdmin listens on port 9090 of loopback, because profiles are not for
// strangers.
func DefaultAdmin() Admin { return Admin{Listen: "127.0.0.1:9090"} }

// Validate implements the check of [Load].
func (a Admin) Validate() error {
	if a.Listen == "" {
		return nil
	}
	if path, ok := a.Socket(); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("admin.listen: unix:// needs the absolute path of a socket, as in unix:///run/pwdist/admin.sock, not %q", a.Listen)
		}
		return nil
	}
	if err := ListenAddress("admin.listen", a.Listen); err != nil {
		return err
	}
	if a.Token != "" && a.TokenFile != "" {
		return errors.New("admin.token and admin.token_file are both set: one of them is enough")
	}
	if !Loopback(a.Listen) && !a.Protected() && !a.Insecure {
		return fmt.Errorf("admin.listen is %q, which others reach: set admin.token_file or PWDIST_ADMIN__TOKEN, or listen on 127.0.0.1 or unix:///path, or set admin.insecure where your network keeps strangers out", a.Listen)
	}
	return nil
}

// Protected tells whether the port asks for a secret.
func (a Admin) Protected() bool { return a.Token != "" || a.TokenFile != "" }

// Secret reads what the port asks for.
func (a Admin) Secret() (string, error) {
	if a.TokenFile == "" {
		return a.Token, nil
	}
	text, err := os.ReadFile(a.TokenFile)
	if err != nil {
		return "", fmt.Errorf("admin.token_file: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("admin.token_file: %s is empty", a.TokenFile)
	}
	return secret, nil
}

// Socket is the path of the Unix socket that Listen names, if it names one.
func (a Admin) Socket() (path string, ok bool) { return strings.CutPrefix(a.Listen, "unix://") }

// ListenAddress checks the value of a setting that is an address to listen on:
// "host:port" or ":port".
func ListenAddress(key, value string) error {
	if _, port, err := net.SplitHostPort(value); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s must be an address such as \":8080\" or \"127.0.0.1:8080\", not %q", key, value)
}

// Loopback tells whether nobody beyond this machine reaches an address to
// listen on. A name other than localhost may be anything.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CommonAliases are the well-known variables that set settings of this
// package. The map is the caller's to extend.
func CommonAliases() map[string]string {
	return map[string]string{
		"REDIS_URL":  "redis.url",
		"LOG_LEVEL":  "log.level",
		"LOG_FORMAT": "log.format",
	}
}

var poolName = regexp.MustCompile(`^[a-z0-9_-]{1,40}$`)

// PoolName checks the name of a pool: 1 to 40 characters of a-z, 0-9, "-" and
// "_", because it becomes part of key names and patterns.
func PoolName(s string) error {
	if !poolName.MatchString(s) {
		return fmt.Errorf("pool name %q: use 1 to 40 characters of a-z, 0-9, '-' and '_'", s)
	}
	return nil
}
