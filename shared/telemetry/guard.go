package telemetry

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

// guard lets in who knows the port's secret, where it has one. Where it has
// none, it still keeps web pages out: a page that a user of this machine visits
// can send requests to loopback, and read the answers if its own name has been
// made to lead there.
func guard(a config.Admin, next http.Handler, log *zap.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
		switch {
		case open:
		case a.Protected():
			secret, err := a.Secret()
			if err != nil {
				log.Error("admin port: the secret cannot be read, so nobody is let in", zap.Error(err))
				http.Error(w, "This service cannot read the secret of this port (admin.token_file). Its log says why.", http.StatusServiceUnavailable)
				return
			}
			if !knows(secret, r) {
				log.Info("admin port: wrong or missing credentials", zap.String("client", r.RemoteAddr))
				w.Header().Set("WWW-Authenticate", `Basic realm="pwdist admin"`)
				http.Error(w, "This port needs its secret (admin.token): send it as 'Authorization: Bearer ...', or as the password of Basic.", http.StatusUnauthorized)
				return
			}
		case fromPage(r) || !a.Insecure && !ownName(a, r.Host):
			http.Error(w, "The admin port is not for web pages. Ask it by its address, or as localhost.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knows tells whether a request has the secret.
func knows(want string, r *http.Request) bool {
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		_, got, _ = r.BasicAuth()
	}
	// Of equal length, so that the time tells nothing of it.
	x, y := sha256.Sum256([]byte(strings.TrimSpace(got))), sha256.Sum256([]byte(want))
	return got != "" && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// fromPage tells whether a browser sends the request for a page of another origin.
func fromPage(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		return true
	}
	origin := r.Header.Get("Origin")
	return origin != "" && !strings.EqualFold(strings.TrimPrefix(origin, "http://"), r.Host)
}

// ownName tells whether a request names the port by what cannot be anybody
// else's: an address, or localhost. A Unix socket has no name of its own.
func ownName(a config.Admin, host string) bool {
	if _, socket := a.Socket(); socket {
		return true
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.EqualFold(host, "localhost") || net.ParseIP(strings.Trim(host, "[]")) != nil
}
