package redisx

import (
	"errors"
	"strings"

	"github.com/redis/rueidis"
)

// tryWrite is a script that may write and does not. Redis refuses it whenever
// it refuses writes, so nothing needs to be written in order to know.
const tryWrite = "#!lua\nreturn 1"

// refusals are the answers of a Redis that can be reached and takes no writes,
// by the word they begin with: what is wrong, and what to do about it.
var refusals = map[string]string{
	"OOM":        "it is out of memory (maxmemory); raise maxmemory, or find out what fills it",
	"MISCONF":    "it cannot save its data; its log says why, and its disk may be full",
	"READONLY":   "it is a replica; let the address lead to the primary, or promote it",
	"NOREPLICAS": "it has fewer replicas than min-replicas-to-write asks for; bring them back, or lower that",
}

// WriteRefusal tells whether err is the answer of a Redis that takes no writes
// (out of memory, disk full, read-only), and if so, in one phrase without
// addresses, why and what to do.
func WriteRefusal(err error) (why string, refused bool) {
	if re, ok := errors.AsType[*rueidis.RedisError](err); ok {
		word, _, _ := strings.Cut(re.Error(), " ")
		why, refused = refusals[word]
	}
	return why, refused
}

// IsReply reports whether err is what Redis answered, not a failure to get an
// answer.
func IsReply(err error) bool {
	_, ok := errors.AsType[*rueidis.RedisError](err)
	return ok
}

// describe is one line about a Redis that cannot be used.
func describe(verb string, a address, err error) string {
	if why, refused := WriteRefusal(err); refused {
		return "Redis at " + a.String() + " refuses writes: " + why
	}
	text := verb + " Redis at " + a.String() + ": " + reason(err)
	if verb == "cannot reach" && a.tls != nil && rejected(err) {
		text += " (does it ask its clients for a certificate? redis.cert_file)"
	}
	return text
}
