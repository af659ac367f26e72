package redisx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

const (
	notifyParameter = "notify-keyspace-events"
	// notifyFlags are the notifications that a pool needs: K for the channel
	// per key, g for DEL and EXPIRE, h for hashes, x for what expired.
	notifyFlags = "Kghx"
	// allTypes is what Redis shortens to "A".
	allTypes = "g$lshztxed"

	canaryTime = 2 * time.Second
	canaryTTL  = 10 * time.Second
)

// EscapeGlob makes a text that matches only itself in a pattern of Redis.
func EscapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`).Replace(s)
}

// EnsureNotifications makes sure that Redis announces changes of keys. It
// turns the notifications on where that is allowed, keeping those that are on,
// and then proves that they arrive by writing to probeKey, which it deletes.
// Where they do not, it returns a [SetupError] that says what to configure.
// While Redis cannot be reached it tries again until ctx ends.
func EnsureNotifications(ctx context.Context, client rueidis.Client, probeKey string, log *zap.Logger) error {
	retry := backoff{first: 500 * time.Millisecond, last: 5 * time.Second}
	for {
		configured := turnOn(ctx, client)
		err := configured
		if err == nil || IsReply(err) {
			err = canary(ctx, client, probeKey)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("check keyspace notifications: %w", ctx.Err())
		case errors.Is(err, errDeaf):
			return deaf(configured)
		case IsSetup(err):
			return err
		}
		wait := retry.wait()
		log.Warn("cannot check keyspace notifications: " + reason(err) + "; trying again in " + roundUp(wait).String())
		if !pause(ctx, wait) {
			return fmt.Errorf("check keyspace notifications: %w", ctx.Err())
		}
	}
}

func deaf(configured error) error {
	if configured != nil {
		return setupf(configured, "Redis does not announce changes of keys and does not let this program turn it on (%s): put \"%s %s\" into redis.conf, or set that parameter where your Redis is managed",
			reason(configured), notifyParameter, notifyFlags)
	}
	return setupf(nil, "Redis does not announce changes of keys although %s is on: connect to the primary itself, without a proxy that drops PSUBSCRIBE", notifyParameter)
}

// turnOn adds the missing flags to the server's configuration. An error that
// is a reply says that this user may not.
func turnOn(ctx context.Context, client rueidis.CommandClient) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	got, err := client.Do(ctx, client.B().ConfigGet().Parameter(notifyParameter).Build()).AsStrMap()
	if err != nil {
		return fmt.Errorf("config get: %w", err)
	}
	want := addFlags(got[notifyParameter])
	if want == got[notifyParameter] {
		return nil
	}
	err = client.Do(ctx, client.B().ConfigSet().ParameterValue().ParameterValue(notifyParameter, want).Build()).Error()
	if err != nil {
		return fmt.Errorf("config set: %w", err)
	}
	return nil
}

// addFlags adds to the flags that are on those that are missing.
func addFlags(have string) string {
	on := strings.ReplaceAll(have, "A", allTypes)
	for _, f := range notifyFlags {
		if !strings.ContainsRune(on, f) {
			have += string(f)
		}
	}
	return have
}

// errDeaf says that Redis answered all along and the notification of a write
// did not come.
var errDeaf = errors.New("no notification arrived")

// canary subscribes to the notifications of key, writes it and waits.
func canary(ctx context.Context, client rueidis.Client, key string) error {
	heard := make(chan struct{}, 1)
	s, err := subscribe(ctx, client, "*", EscapeGlob(key), func(rueidis.PubSubMessage) {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer s.close()

	b := client.B()
	defer func() {
		// Also when ctx has ended: the key should not outlive the check. If
		// this fails too, its TTL takes it away.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		_ = client.Do(ctx, b.Del().Key(key).Build()).Error()
	}()
	wctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for _, r := range client.DoMulti(wctx,
		b.Hset().Key(key).FieldValue().FieldValue("probe", "1").Build(),
		b.Pexpire().Key(key).Milliseconds(canaryTTL.Milliseconds()).Build(),
	) {
		if err := r.Error(); err != nil {
			return fmt.Errorf("write %s: %w", key, permission(err))
		}
	}

	timer := time.NewTimer(canaryTime)
	defer timer.Stop()
	select {
	case <-heard:
		return nil
	case err := <-s.lost:
		return lostError(err)
	case <-timer.C:
		return errDeaf
	case <-ctx.Done():
		return ctx.Err()
	}
}

// permission makes a NOPERM reply a SetupError; other errors stay.
func permission(err error) error {
	if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "NOPERM") {
		return setupf(err, "the user of redis.url lacks a permission: %s", re.Error())
	}
	return err
}

// subscription is a pattern subscription to keyspace notifications on a
// connection of its own. It is not mended: once lost gives a value it is over.
//
// rueidis' Receive would resubscribe silently, and what was published in the
// gap would be missing without anybody knowing.
type subscription struct {
	client rueidis.DedicatedClient
	lost   <-chan error
}

// subscribe returns when Redis has confirmed. db is a number or "*", keys a
// key pattern. on runs in the connection's read loop, so it must not wait.
func subscribe(ctx context.Context, client rueidis.Client, db, keys string, on func(rueidis.PubSubMessage)) (*subscription, error) {
	dc, _ := client.Dedicate()
	s := &subscription{client: dc, lost: dc.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: on})}
	pattern := "__keyspace@" + db + "__:" + keys
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := dc.Do(ctx, dc.B().Psubscribe().Pattern(pattern).Build()).Error(); err != nil {
		s.close()
		if re, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(re.Error(), "NOPERM") {
			return nil, setupf(err, "the user of redis.url may not subscribe to %s: grant it the channels, for example with ACL SETUSER <user> allchannels", pattern)
		}
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return s, nil
}

// close ends the subscription and its connection.
func (s *subscription) close() { s.client.Close() }

func lostError(err error) error {
	if err == nil {
		err = errors.New("connection closed")
	}
	return fmt.Errorf("subscription lost: %w", err)
}
