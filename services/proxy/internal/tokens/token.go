// Package tokens knows who may come in: named tokens with limits and an end,
// kept as hashes in a file or a setting, read again when the file changes.
package tokens

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"time"
)

// Token is one entry of the file. It holds no secret.
type Token struct {
	Name string
	// MaxSessions bounds its sessions in the whole pool, waiting ones included;
	// 0 = no limit.
	MaxSessions int
	// QueueShare is the part of the queue that it may fill, above 0 to 1; 0 = all
	// of it.
	QueueShare float64
	// Expires is when it ends; zero = never.
	Expires time.Time

	hash [sha256.Size]byte
}

// QueuePlaces is how many of its clients may wait in a queue of that size, at
// least one; 0 = as many as there is room for.
func (t Token) QueuePlaces(size int) int {
	if t.QueueShare == 0 {
		return 0
	}
	return max(1, int(math.Floor(t.QueueShare*float64(size))))
}

// The reasons for not knowing somebody. Their texts are for the client.
var (
	ErrMissing = errors.New("no token was sent")
	ErrUnknown = errors.New("the pool has no such token")
	// ErrExpired is only told to who has the token itself.
	ErrExpired = errors.New("the token has expired")
)

// Set is an unchanging set of tokens.
type Set struct{ tokens []Token }

// Len is how many there are.
func (s *Set) Len() int { return len(s.tokens) }

// Names lists the tokens' names in the order of their source.
func (s *Set) Names() []string {
	names := make([]string, len(s.tokens))
	for i, t := range s.tokens {
		names[i] = t.Name
	}
	return names
}

// maxSecret bounds what is hashed for a stranger.
const maxSecret = 512

// Check finds the token of a secret. How long it takes depends on the number
// of tokens and on nothing that is secret. The error is one of those above,
// wrapped; it names an expired token and never repeats the secret.
func (s *Set) Check(secret string, now time.Time) (Token, error) {
	if secret == "" {
		return Token{}, ErrMissing
	}
	if len(secret) > maxSecret {
		return Token{}, ErrUnknown
	}
	sum, at := sha256.Sum256([]byte(secret)), -1
	for i := range s.tokens {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], s.tokens[i].hash[:]), i, at)
	}
	if at < 0 {
		return Token{}, ErrUnknown
	}
	t := s.tokens[at]
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return t, fmt.Errorf("%w: %s ended at %s", ErrExpired, t.Name, t.Expires.UTC().Format(time.RFC3339))
	}
	return t, nil
}
