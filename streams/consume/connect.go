package consume

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Connect opens a Redis client for reading events. The URL is
// redis://[user:password@]host[:port][/db], rediss:// for TLS, or
// unix://[user:password@]/path/to/socket[?db=n]; ?master_set=name asks the
// Sentinels at that address. No error of Connect, or of the client, holds the
// password. Close the client when done.
func Connect(redisURL string) (rueidis.Client, error) {
	opt, err := clientOption(redisURL)
	if err != nil {
		return nil, err
	}
	client, err := rueidis.NewClient(opt)
	if err != nil {
		return nil, fmt.Errorf("connect to redis at %s: %w", strings.Join(opt.InitAddress, ","), err)
	}
	return client, nil
}

// ConnectWait is Connect that waits for a Redis which is not there yet. It calls
// onRetry before each wait, and ends with an error when ctx ends or trying again
// cannot help.
func ConnectWait(ctx context.Context, redisURL string, onRetry func(err error, wait time.Duration)) (rueidis.Client, error) {
	if _, err := clientOption(redisURL); err != nil {
		return nil, err
	}
	var pause backoff
	for {
		client, err := Connect(redisURL)
		if err == nil || final(err) {
			return client, err
		}
		wait := pause.next()
		if onRetry != nil {
			onRetry(err, wait)
		}
		if !sleep(ctx, wait) {
			return nil, context.Cause(ctx)
		}
	}
}

var errURL = errors.New("redis URL: use redis://[user:password@]host[:port][/db], rediss:// or unix:///path/to/socket, " +
	"with special characters of the password percent-encoded")

// clientOption never wraps an error of a URL parser: those quote the URL, and the
// password with it.
func clientOption(redisURL string) (rueidis.ClientOption, error) {
	u, err := url.Parse(strings.TrimSpace(redisURL)) // as the services do
	if err != nil {
		return rueidis.ClientOption{}, errURL
	}
	// A password with an unencoded '/', '?' or '#' puts its rest, and the '@', in
	// the wrong part of the URL.
	if u.Scheme == "" || u.Opaque != "" || u.Scheme == "unix" && u.Path == "" || u.Fragment != "" || strings.ContainsAny(u.Path+u.RawQuery, "@") {
		return rueidis.ClientOption{}, errURL
	}
	if u.Scheme != "unix" {
		u.Path = strings.TrimSuffix(u.Path, "/")
		u.RawPath = ""
	}
	opt, err := rueidis.ParseURL(u.String())
	if err != nil {
		return rueidis.ClientOption{}, errURL
	}
	if opt.ClientName == "" {
		opt.ClientName = "pwdist-events"
	}
	// A reader of one stream needs neither a cache nor the connections and buffers
	// of a busy client. It retries by itself, and says so.
	opt.DisableCache = true
	opt.DisableRetry = true
	opt.PipelineMultiplex = -1
	opt.RingScaleEachConn = 8
	opt.ReadBufferEachConn = 128 << 10
	opt.WriteBufferEachConn = 16 << 10
	opt.Dialer.KeepAlive = time.Second
	if opt.ConnWriteTimeout == 0 {
		opt.ConnWriteTimeout = answerLimit
	}
	return opt, nil
}
