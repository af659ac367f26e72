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
	pulse  *pulse
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
}

func watch(client rueidis.Client, a address, o Options) *watched {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watched{Client: client, db: a.db, pulse: newPulse(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		p := &pinger{client: client, address: a, pulse: w.pulse, eviction: eviction{address: a, log: o.Log}, Options: o, up: true}
		p.run(ctx)
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
	client   rueidis.Client
	address  address
	pulse    *pulse
	eviction eviction
	up       bool
	verdict  string // what was last found against Redis; see there
	refused  bool   // and it was that it takes no writes
	silent   bool   // the last ping had no answer
}

// unknown is no number of a connection.
const unknown = -1

func (p *pinger) run(ctx context.Context) {
	asked := int64(unknown)
	for pause(ctx, pingGap) {
		connection, err := p.ping(ctx)
		if ctx.Err() != nil {
			return
		}
		p.tell(err)
		// A new connection may lead to another Redis, with or without an outage
		// that was noticed.
		switch {
		case err != nil:
			asked = unknown
		case connection != asked && p.eviction.check(ctx, p.client):
			asked = connection
		}
	}
}

// tell passes on what a ping has found, if that has changed.
func (p *pinger) tell(err error) {
	// What is no answer to one ping is a wrong password to the next, when Redis
	// comes back with another one.
	found := verdict(err)
	silent, before := err != nil && found == "", p.silent
	p.silent = silent
	if silent && !before && p.verdict != "" {
		// A replica closes the connection when ping asks it to. What Redis said
		// stands until a second ping has no answer.
		return
	}
	if (err == nil) == p.up && found == p.verdict {
		return
	}
	refusedBefore := p.refused
	p.verdict = found
	_, p.refused = WriteRefusal(err)
	if (err == nil) != p.up {
		p.up = err == nil
		p.pulse.set(p.up)
	}
	why := ""
	switch {
	case p.up && refusedBefore:
		p.Log.Info("Redis takes writes again", zap.Stringer("redis", p.address))
	case p.up:
		p.Log.Info("Redis is reachable again", zap.Stringer("redis", p.address))
	default:
		why = describe("lost", p.address, err)
		p.Log.Warn(why + "; trying again until it is back")
	}
	p.OnHealth(p.up, why)
}

// usable tells what the answer to a PING says. Any error reply says that Redis
// cannot be used (it is loading its data, runs a script for too long, refuses the
// password), except that this user may not PING, which is an answer like another.
func usable(ping rueidis.RedisResult) error {
	err := ping.Error()
	if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "NOPERM") {
		return nil
	}
	return err
}

// ping reports whether Redis can be used, and by what number it knows the
// connection.
//
// A Redis that was made a replica keeps its clients, answers them and refuses
// what they write. Asked to close the connection it makes the next one be
// dialled, which finds the new primary if the address leads there by now.
func (p *pinger) ping(ctx context.Context) (connection int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	b := p.client.B()
	got := p.client.DoMulti(ctx, b.Ping().Build(), b.Arbitrary("HELLO").Build(), b.Eval().Script(tryWrite).Numkeys(0).Build())
	if err := usable(got[0]); err != nil {
		return unknown, err
	}
	hello, err := got[1].AsMap()
	if err != nil {
		return unknown, err
	}
	if isReplica(hello) {
		_ = p.client.Do(ctx, b.Arbitrary("QUIT").Build()).Error() // the next ping tells
		return unknown, errReplica
	}
	if _, refused := WriteRefusal(got[2].Error()); refused {
		return unknown, got[2].Error()
	}
	id := hello["id"]
	connection, _ = id.ToInt64()
	return connection, nil // any other answer says nothing about writes
}
