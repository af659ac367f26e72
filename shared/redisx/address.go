package redisx

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

const defaultPort = "6379"

// address is a parsed Redis URL.
type address struct {
	network  string // tcp or unix
	addr     string // host:port, or the socket's path
	user     string
	password string
	// passwordFile holds the password instead.
	passwordFile string
	db           int
	tls          *tls.Config
}

// String names the address without credentials.
func (a address) String() string { return a.addr }

// parseURL parses redis://, rediss:// and unix:// URLs. No error repeats the
// URL, which may hold a password.
func parseURL(text string) (address, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		// The error of url.Parse quotes what it was given.
		return address{}, badURL("it is not a URL: %s", escape)
	}
	if cutOff(u) {
		return address{}, badURL("what follows its host looks like the rest of a password: %s", escape)
	}
	var a address
	switch u.Scheme {
	case "redis", "valkey", "rediss", "valkeys":
		err = a.setHost(u)
	case "unix":
		a.network, a.addr = "unix", path.Clean(u.Path)
		if !strings.HasPrefix(u.Path, "/") || u.Host != "" {
			err = badURL("unix:// needs the absolute path of a socket: unix:///run/redis.sock")
		}
	default:
		err = badURL("it must begin with redis://, rediss:// or unix://")
	}
	if err != nil {
		return address{}, err
	}
	if u.User != nil {
		a.user = u.User.Username()
		a.password, _ = u.User.Password()
	}
	return a, a.setQuery(u)
}

const escape = "escape special characters in the password (@ as %40, / as %2F, ? as %3F, # as %23, : as %3A, % as %25)"

// cutOff tells whether a password with a bare /, ? or # ended the host too
// early. What was meant as user and password is then host and port, and the rest
// is elsewhere; all of which errors and logs would show.
func cutOff(u *url.URL) bool {
	return u.Fragment != "" || strings.Contains(u.RawQuery, "@") || u.Scheme != "unix" && strings.Contains(u.Path, "@")
}

func (a *address) setHost(u *url.URL) error {
	a.network = "tcp"
	if strings.Contains(u.Host, ",") {
		return badURL("it names several servers; give one")
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = defaultPort
	}
	a.addr = net.JoinHostPort(host, port)
	if u.Scheme == "rediss" || u.Scheme == "valkeys" {
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	}
	if db := strings.Trim(u.Path, "/"); db != "" {
		return a.setDB(db)
	}
	return nil
}

func (a *address) setDB(text string) error {
	db, err := strconv.Atoi(text)
	if err != nil || db < 0 {
		return badURL("the database must be a number, as in redis://host:6379/0")
	}
	a.db = db
	return nil
}

func (a *address) setQuery(u *url.URL) error {
	for name, values := range u.Query() {
		switch {
		case name == "db":
			if err := a.setDB(values[0]); err != nil {
				return err
			}
		case name == "skip_verify" && a.tls != nil:
			skip, err := strconv.ParseBool(values[0])
			if err != nil {
				return badURL("skip_verify must be true or false")
			}
			a.tls.InsecureSkipVerify = skip
		default:
			return badURL("unknown parameter %q: there are db, and skip_verify with rediss://", name)
		}
	}
	return nil
}

func badURL(format string, args ...any) error {
	return setupf(nil, "redis.url cannot be used: "+format, args...)
}

// apply puts the address into rueidis' options.
func (a address) apply(o *rueidis.ClientOption) {
	o.InitAddress = []string{a.addr}
	o.Username, o.Password = a.user, a.password
	if a.passwordFile != "" {
		o.AuthCredentialsFn = a.credentials
	}
	o.SelectDB = a.db
	o.TLSConfig = a.tls
	if a.network == "unix" {
		o.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", addr)
		}
	}
}
