package redisx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/rueidis"
)

// SetupError is a failure that trying again does not mend: a wrong password,
// a missing permission, a server that is too old, a URL that cannot be used.
// Its text says what to change and holds no password.
type SetupError struct {
	msg string
	err error
}

func (e *SetupError) Error() string { return e.msg }

// Unwrap returns what the server or the library said, if anything did.
func (e *SetupError) Unwrap() error { return e.err }

func setupf(err error, format string, args ...any) *SetupError {
	return &SetupError{msg: fmt.Sprintf(format, args...), err: err}
}

// IsSetup reports whether err says that somebody has to change something.
func IsSetup(err error) bool {
	var s *SetupError
	return errors.As(err, &s)
}

// classify turns an error of talking to Redis into a [SetupError] where
// waiting will not help, and returns it as it is otherwise.
func classify(a address, err error) error {
	if err == nil || IsSetup(err) {
		return err
	}
	var cert *tls.CertificateVerificationError
	var unknownCA x509.UnknownAuthorityError
	var hostname x509.HostnameError
	if errors.As(err, &cert) || errors.As(err, &unknownCA) || errors.As(err, &hostname) {
		return setupf(err, "the certificate of Redis at %s is not trusted (redis.ca_file names who vouches for it): %s", a, err)
	}
	var re *rueidis.RedisError
	if !errors.As(err, &re) {
		return err
	}
	text := re.Error() // without the ERR in front that Redis sends
	switch {
	case hasAnyPrefix(text, "WRONGPASS", "invalid password", "AUTH "):
		return setupf(err, "Redis at %s refuses the user or password of %s: %s", a, a.source(), text)
	case hasAnyPrefix(text, "NOAUTH"):
		return setupf(err, "Redis at %s wants a password: put it into redis.url, as in redis://user:password@host:6379, or name a file with redis.password_file", a)
	case hasAnyPrefix(text, "NOPERM"):
		return setupf(err, "the user of redis.url may not do what is needed on Redis at %s: %s", a, text)
	case hasAnyPrefix(text, "DB index", "invalid DB index", "SELECT is not allowed"):
		return setupf(err, "Redis at %s has no database %d, which redis.url names: %s", a, a.db, text)
	}
	return err
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// verdict is what stands against a Redis that was reached, or against reaching
// it, in words that are the same for as long as that is. The ways in which there
// is no answer alternate while a Redis is away, so they are all the same here,
// and empty.
func verdict(err error) string {
	if why, refused := WriteRefusal(err); refused {
		return why
	}
	if IsReply(err) || errors.Is(err, errReplica) || errors.Is(err, errNoPassword) {
		return reason(err)
	}
	return ""
}

// reason is the short form of an error for one line of a log or a health
// check: what a person wants to know, without addresses that stand beside it.
func reason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENOENT):
		return "no such socket"
	case errors.As(err, &dns):
		return "cannot resolve " + dns.Name
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "connection closed"
	}
	return err.Error()
}
