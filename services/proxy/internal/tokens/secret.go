package tokens

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Prefix starts every token that this program makes, so that people and secret
// scanners know one when they see it.
const Prefix = "pwd_"

// hashPrefix names the hash in the file.
const hashPrefix = "sha256:"

// minSecret is the least that a token of somebody's own making has: it is kept
// as a plain hash, which a short or guessable one would not survive.
const minSecret = 32

// NewSecret makes a token of 260 random bits.
func NewSecret() string { return Prefix + strings.ToLower(rand.Text()+rand.Text()) }

// Hash is what the file has of a token.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// checkSecret tells what is wrong with a token, without repeating it.
func checkSecret(secret string) error {
	if len(secret) < minSecret || len(secret) > maxSecret {
		return fmt.Errorf("a token has %d to %d characters, not %d: it is kept as a plain hash, so it must be random and long", minSecret, maxSecret, len(secret))
	}
	for _, c := range []byte(secret) {
		if c <= ' ' || c > '~' {
			return errors.New("a token has no spaces and no characters beyond ASCII")
		}
	}
	return nil
}

// parseHash reads a hash of the file.
func parseHash(text string) (sum [sha256.Size]byte, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if !ok {
		if strings.HasPrefix(text, Prefix) {
			return sum, errors.New("hash is the token itself: put in what `pwdist-proxy token hash` makes of it, and make a new one, since this one has been written down")
		}
		return sum, errors.New("hash must be sha256: and 64 hexadecimal digits, as `pwdist-proxy token new` prints it")
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(sum) {
		return sum, errors.New("hash must be sha256: and 64 hexadecimal digits, as `pwdist-proxy token new` prints it")
	}
	copy(sum[:], b)
	return sum, nil
}
