package state

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ProxyReply is what a proxy's heartbeat gets.
type ProxyReply struct {
	Meta
	// New tells that the pool did not know the proxy: it is its first
	// heartbeat, or it was away for longer than its lease, and what waited there
	// may have been ended. It is told until a heartbeat names this reply.
	New bool
	// Told names the reply where it says so.
	Told string
	// Next is the time until the pool's first deadline, 0 when it has passed,
	// negative when there is none. Somebody calls Reap then.
	Next time.Duration
}

// ProxyHeartbeat renews a proxy's lease. heeded is Told of the last reply, if
// the proxy has done something about it, empty at first. ends are active sessions
// whose connection the proxy saw ending, in case their worker could not say so.
func (s *Store) ProxyHeartbeat(ctx context.Context, proxy, heeded string, ends ...End) (ProxyReply, error) {
	sent := time.Now()
	m, got, err := s.run(ctx, "proxy_heartbeat", proxy, s.ends(ends), heeded)
	s.clock.heard(sent, got.at(2))
	r := ProxyReply{Meta: m, New: got.at(0) == "new", Next: next(got.at(1))}
	if r.New {
		r.Told = got.at(2)
	}
	return r, err
}

// Reap ends what nobody is left to end, at most batch sessions in one call,
// and tells how many and when the next deadline comes (as ProxyReply.Next).
func (s *Store) Reap(ctx context.Context, batch int) (ended int, until time.Duration, err error) {
	_, got, err := s.run(ctx, "reap", itoa(batch))
	return got.int(0), next(got.at(1)), err
}

func next(ms string) time.Duration {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

// Notice is one entry of a proxy's inbox.
type Notice struct {
	Epoch   string
	Session string
	Granted bool   // Grant is set
	Ended   string // else: the reason for which the session is over
	Grant   Grant
}

// ParseNotice reads an inbox entry.
func ParseNotice(f map[string]string) (Notice, error) {
	n := Notice{Epoch: f["epoch"], Session: f["session"]}
	if n.Session == "" {
		return n, errors.New("inbox entry without a session")
	}
	switch f["kind"] {
	case "grant":
		attempt, err := strconv.Atoi(f["attempt"])
		if err != nil {
			return n, fmt.Errorf("inbox grant: attempt: %w", err)
		}
		n.Granted = true
		n.Grant = Grant{Session: n.Session, Worker: f["worker"], Endpoint: f["endpoint"], Attempt: attempt, BrowserVersion: f["browser_version"], Playwright: f["playwright"]}
	case "ended":
		n.Ended = f["reason"]
	default:
		return n, fmt.Errorf("inbox entry of unknown kind %q", f["kind"])
	}
	return n, nil
}
