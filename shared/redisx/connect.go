// Package redisx is how the services talk to Redis where it is not about pool
// state: connecting and staying connected, keyspace notifications, and the
// inbox of a process.
//
// A Redis that is gone or frozen is a state to live in, not an error to die
// of. Everything here therefore tries again by itself for as long as its
// context lives, says so once in the log, and gives up only over what nobody
// but the operator can mend, with a [SetupError].
package redisx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

const (
	// pingGap is how long a connection may be silent before it is tried.
	pingGap = 800 * time.Millisecond
	// answerTime is how long Redis may take to answer anything. Together with
	// pingGap it is how late a frozen Redis is noticed: 2.3 s.
	answerTime = 1500 * time.Millisecond
	dialTime   = 2 * time.Second

	smallBuffer = 16 << 10
	buffer      = 128 << 10

	minMajor = 7
)

// keepAlive lets the kernel find a peer that vanished without a word. rueidis
// does not ping a connection on which a command blocks, so this is what ends a
// blocking read on a dead link within about five seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3}

// Options of [Connect].
type Options struct {
	config.Redis
	// ClientName shows in CLIENT LIST. Letters, digits and "-:._".
	ClientName string
	// SmallBuffers trades throughput for memory, for a process that does
	// little with Redis.
	SmallBuffers bool
	Log          *zap.Logger
	// OnHealth is told when Redis becomes unreachable or refuses writes, with a
	// reason, when Redis answers with another reason, and when all is well again.
	// Calls come one at a time and only on a change; the first is about the first
	// attempt to connect.
	OnHealth func(ok bool, why string)
}

// Connect returns a client once Redis answers. While it does not, Connect says
// so in the log and tries again until ctx ends. What only the operator can
// mend ends it with a [SetupError]. No error or log line holds the password.
//
// The client reconnects by itself, answers every command within about two
// seconds with a result or an error, and is watched: o.OnHealth hears of an
// outage within three seconds, the log of a Redis that evicts keys. Close ends
// the watching. Commands that block
// need a connection of their own; see [ReadInbox].
func Connect(ctx context.Context, o Options) (rueidis.Client, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.OnHealth == nil {
		o.OnHealth = func(bool, string) {}
	}
	a, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.PasswordFile != "" {
		if err := a.setPasswordFile(o.PasswordFile); err != nil {
			return nil, err
		}
	}
	if err := a.setTLS(o.Redis); err != nil {
		return nil, err
	}
	co := clientOption(a, o)
	retry := backoff{first: 500 * time.Millisecond, last: 5 * time.Second}
	failed, told := false, ""
	for {
		client, err := connectOnce(ctx, a, co)
		if err == nil {
			o.OnHealth(true, "")
			if failed {
				o.Log.Info("connected to Redis", zap.Stringer("redis", a))
			}
			return watch(client, a, o), nil
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("connect to Redis at %s: %w", a, err)
		}
		if err = classify(a, err); IsSetup(err) {
			return nil, err
		}
		wait := retry.wait()
		why := describe("cannot reach", a, err)
		o.Log.Warn(why + "; trying again in " + roundUp(wait).String())
		if against := verdict(err); !failed || against != told {
			o.OnHealth(false, why)
			failed, told = true, against
		}
		if !pause(ctx, wait) {
			return nil, fmt.Errorf("%s: %w", why, ctx.Err())
		}
	}
}

// roundUp is a duration as one says it.
func roundUp(d time.Duration) time.Duration {
	return (d + 99*time.Millisecond).Truncate(100 * time.Millisecond)
}

func clientOption(a address, o Options) rueidis.ClientOption {
	size := buffer
	if o.SmallBuffers {
		size = smallBuffer
	}
	co := rueidis.ClientOption{
		ClientName: o.ClientName,
		// Dialer.KeepAlive is rueidis' ping gap; the sockets get keepAlive.
		Dialer:           net.Dialer{Timeout: dialTime, KeepAlive: pingGap, KeepAliveConfig: keepAlive},
		ConnWriteTimeout: answerTime,
		DisableCache:     true,
		// All keys of a pool are in one slot and commands are pipelined, so
		// one shared connection is enough; each more would only be pinged.
		PipelineMultiplex:   -1,
		ReadBufferEachConn:  size,
		WriteBufferEachConn: size,
		ForceSingleClient:   true,
	}
	a.apply(&co)
	return co
}

func connectOnce(ctx context.Context, a address, co rueidis.ClientOption) (rueidis.Client, error) {
	client, err := rueidis.NewClient(co)
	if err == nil {
		err = checkServer(ctx, a, client)
	}
	if err != nil {
		if client != nil {
			client.Close()
		}
		return nil, err
	}
	return client, nil
}

// errReplica is temporary: a replica may be on its way to become the master,
// and a name may be on its way to point to the new one.
var errReplica = errors.New("it is a replica and takes no writes")

// checkServer asks what is at the other end. HELLO needs no permission, which
// INFO would.
func checkServer(ctx context.Context, a address, client rueidis.Client) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	hello, err := client.Do(ctx, client.B().Arbitrary("HELLO").Build()).AsMap()
	if err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	field := func(name string) string { return fieldOf(hello, name) }
	version := field("version")
	major, err := strconv.Atoi(strings.SplitN(version, ".", 2)[0])
	switch {
	case err != nil || major < minMajor:
		return setupf(err, "Redis at %s is version %s; version %d.0 or later is needed", a, version, minMajor)
	case field("mode") == "cluster":
		return setupf(nil, "Redis at %s runs as a cluster; give the URL of a single server, or of the primary behind which replicas stand", a)
	case field("mode") == "sentinel":
		return setupf(nil, "at %s is a Redis Sentinel; give the URL of the Redis itself", a)
	case isReplica(hello):
		return errReplica
	}
	// One that still loads its data, or is busy with a script, answers HELLO.
	if err := usable(client.Do(ctx, client.B().Ping().Build())); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	err = client.Do(ctx, client.B().Eval().Script(tryWrite).Numkeys(0).Build()).Error()
	if _, refused := WriteRefusal(err); refused {
		return fmt.Errorf("try to write: %w", err)
	}
	return nil
}

func fieldOf(hello map[string]rueidis.RedisMessage, name string) string {
	m := hello[name]
	s, _ := m.ToString()
	return s
}

func isReplica(hello map[string]rueidis.RedisMessage) bool {
	role := fieldOf(hello, "role")
	return role == "replica" || role == "slave"
}
