package edge

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/tokens"
	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
)

// authorize finds the token of a request. Who has none that counts is told why;
// who tries too often is told to stop, and fills no log. A right token is let
// in however many wrong ones came from its address: there may be a whole
// company, or a balancer, behind that, and a token cannot be guessed.
func (e *Edge) authorize(r *http.Request, remote string) (tokens.Token, error) {
	if e.o.Tokens == nil {
		return tokens.Token{}, nil
	}
	t, err := e.o.Tokens.Check(secretOf(r))
	if err == nil {
		return t, nil
	}
	if wait, often := e.failures.often(addressOf(remote)); often {
		no := refusal.New(refusal.AuthFailures, "")
		no.RetryAfter = wait
		return tokens.Token{}, no
	}
	e.o.Log.Info("client without valid credentials", zap.String("client", remote), zap.String("why", err.Error()))
	switch {
	case errors.Is(err, tokens.ErrMissing):
		return tokens.Token{}, refusal.New(refusal.Unauthorized, "No token was sent.")
	case errors.Is(err, tokens.ErrExpired):
		return tokens.Token{}, refusal.New(refusal.Unauthorized, "Token %s ended at %s.", t.Name, t.Expires.UTC().Format("2006-01-02 15:04 MST"))
	default:
		return tokens.Token{}, refusal.New(refusal.Unauthorized, "The pool has no such token.")
	}
}

// secretOf reads the token of a request; the header goes before the query.
func secretOf(r *http.Request) string {
	if scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(secret)
	}
	// What cannot be read of the query is refused later, to whom it may be told.
	q, _ := url.ParseQuery(r.URL.RawQuery)
	return q.Get("token")
}
