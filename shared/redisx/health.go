package redisx

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// watched is a client with a goroutine that pings while the client is open.
//
// rueidis pings silent connections too, but tells nobody what it finds. Our
// ping makes the shared connection not silent, so it takes the place of
// theirs instead of doubling it.
type watched struct {
	rueidis.Client
	db     int
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
}

func watch(client rueidis.Client, a address, o Options) *watched {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watched{Client: client, db: a.db, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		pinger{client: client, address: a, Options: o}.run(ctx)
	}()
	return w
}

// DB is the number of the database that a client of [Connect] works in, which
// is part of the names of keyspace notifications.
func DB(client rueidis.Client) int {
	if w, ok := client.(*watched); ok {
		return w.db
	}
	return 0
}

// Close ends the watching and closes the client. OnHealth is not called after
// it.
func (w *watched) Close() {
	w.once.Do(func() {
		w.cancel()
		<-w.done
		w.Client.Close()
	})
}

type pinger struct {
	Options
	client  rueidis.Client
	address address
}

func (p pinger) run(ctx context.Context) {
	up := true
	for pause(ctx, pingGap) {
		err := p.ping(ctx)
		if ctx.Err() != nil {
			return
		}
		if (err == nil) == up {
			continue
		}
		if up = err == nil; up {
			p.Log.Info("Redis is reachable again", zap.Stringer("redis", p.address))
			p.OnHealth(true, "")
			continue
		}
		why := "lost Redis at " + p.address.String() + ": " + reason(err)
		p.Log.Warn(why + "; trying again until it is back")
		p.OnHealth(false, why)
	}
}

// ping reports whether Redis can be used. Any error reply says that it cannot
// (it is loading its data, runs a script for too long, refuses the password),
// except that this user may not PING, which is an answer like another.
func (p pinger) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := p.client.Do(ctx, p.client.B().Ping().Build()).Error()
	if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "NOPERM") {
		return nil
	}
	return err
}
