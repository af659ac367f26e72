// Package state is the only writer of pool state in Redis: one Lua script for
// each transition and one typed Go function for each script. A transition is
// atomic, idempotent, and writes its event in the same step.
package state

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
)

// Store runs the scripts of one pool. It is safe for concurrent use.
type Store struct {
	client  rueidis.Client
	keys    keys.Pool
	options Options
	library *library
	onReply func(Meta)
	clock   clock

	gathering gathering
}

// Meta comes with every reply.
type Meta struct {
	// Epoch names the incarnation of the data set. A change means that Redis
	// came back empty: workers join again, proxies queue their clients again.
	Epoch string
	// Rev is the fleet's revision. One above what a cache has seen means that
	// the cache missed something.
	Rev int64
}

// ErrSchema reports that the pool's data belongs to another release's scripts.
var ErrSchema = errors.New("belongs to another release, and two releases must not share a pool")

// foreign tells what to do about a pool of another release.
func (s *Store) foreign(schema string) error {
	return fmt.Errorf("the pool %q in Redis %w (schema %s; this release has %s): give this one a pool of its own (--pool, PWDIST_POOL), run the other release, or stop all of the other release and delete the pool's keys; docs/operations.md tells how",
		s.keys.Name(), ErrSchema, schema, Schema)
}

var scriptNames = []string{"acquire", "reassign", "start", "finish", "cancel", "join", "heartbeat", "retire", "leave", "reap", "proxy_heartbeat"}

// New makes a store. onReply, which may be nil, sees the Meta of every reply
// before the caller does; it must not block.
func New(client rueidis.Client, pool keys.Pool, o Options, onReply func(Meta)) (*Store, error) {
	l, err := compile(pool.Prefix(), constants(pool.Prefix(), pool.Name(), o))
	if err != nil {
		return nil, err
	}
	return &Store{client: client, keys: pool, options: o, onReply: onReply, library: l, gathering: gathering{patience: acquirePatience}}, nil
}

// Keys returns the keys of the store's pool.
func (s *Store) Keys() keys.Pool { return s.keys }

// Options returns the numbers the scripts work with.
func (s *Store) Options() Options { return s.options }

type reply []string

func (r reply) at(i int) string {
	if i < len(r) {
		return r[i]
	}
	return ""
}

func (r reply) int(i int) int {
	n, _ := strconv.Atoi(r.at(i))
	return n
}

func (r reply) from(i int) []string {
	if i >= len(r) {
		return nil
	}
	return r[i:]
}

// run executes a script; the reply starts behind epoch and revision.
func (s *Store) run(ctx context.Context, name string, args ...string) (Meta, reply, error) {
	got, err := s.library.call(ctx, s.client, name, s.keys.Schema(), args).AsStrSlice()
	if err != nil {
		if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "PWDISTSCHEMA") {
			return Meta{}, nil, s.foreign(strings.TrimSpace(strings.TrimPrefix(re.Error(), "PWDISTSCHEMA")))
		}
		return Meta{}, nil, fmt.Errorf("redis: %s: %w", name, err)
	}
	if len(got) < 2 {
		return Meta{}, nil, fmt.Errorf("redis: %s: reply of %d fields", name, len(got))
	}
	rev, err := strconv.ParseInt(got[1], 10, 64)
	if err != nil {
		return Meta{}, nil, fmt.Errorf("redis: %s: revision: %w", name, err)
	}
	m := Meta{Epoch: got[0], Rev: rev}
	if s.onReply != nil {
		s.onReply(m)
	}
	return m, reply(got[2:]), nil
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
