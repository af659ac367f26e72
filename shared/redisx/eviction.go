package redisx

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// eviction warns of a Redis that forgets keys when its memory is full. A pool's
// keys are one picture, of which none may be missing; and unlike a Redis that
// refuses writes, one that evicts says nothing. It is told once for what is
// found, and again when another Redis is found at the address.
type eviction struct {
	address address
	log     *zap.Logger
	told    string // the policy of the last warning, empty while all is well
}

// check asks with INFO, which more users may call than CONFIG. It reports
// whether Redis has answered, be it that this user may not know.
func (e *eviction) check(ctx context.Context, client rueidis.Client) (answered bool) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	text, err := client.Do(ctx, client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		e.log.Debug("cannot ask Redis whether it evicts keys", zap.Error(err))
		return IsReply(err)
	}
	policy, limit := evicts(text)
	if policy == e.told {
		return true
	}
	e.told = policy
	if policy == "" {
		e.log.Info("Redis does not evict keys any more", zap.Stringer("redis", e.address))
		return true
	}
	e.log.Warn("Redis at "+e.address.String()+" evicts keys when its memory is full: what it forgets of the pool's is lost without a word, "+
		`sessions and slots with it; put "maxmemory-policy noeviction" into redis.conf, or set that parameter where your Redis is managed`,
		zap.String("maxmemory-policy", policy), zap.Int64("maxmemory", limit))
	return true
}

// evicts reads INFO's memory section: by which policy keys are evicted once the
// memory of limit bytes is full, if they are.
func evicts(info string) (policy string, limit int64) {
	for line := range strings.Lines(info) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), ":"); name {
		case "maxmemory":
			limit, _ = strconv.ParseInt(value, 10, 64)
		case "maxmemory_policy":
			policy = value
		}
	}
	if limit <= 0 || policy == "noeviction" {
		return "", limit
	}
	return policy, limit
}
