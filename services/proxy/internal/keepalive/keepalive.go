// Package keepalive has the kernel find peers that are gone, for connections that
// nobody pings.
//
// The kernel sends the probes of all connections that became silent within the
// same two seconds at once. On loopback and between containers it drops what
// exceeds net.core.netdev_max_backlog (1000), the same ones each time, and cuts
// their connections. So each connection waits for another time until it is probed.
package keepalive

import (
	"math/rand/v2"
	"net"
	"time"
)

const (
	// After is how long a connection is silent at least until it is probed.
	After = 60 * time.Second
	// Spread is over how long the first probes of connections that became silent
	// together are spread: 20,000 of them are then probed by 330 in two seconds.
	Spread = 120 * time.Second
	// Pause is the time between two probes of a peer that does not answer.
	Pause = 15 * time.Second
	// Count is how many probes a peer may leave unanswered.
	Count = 4
)

// Idle is how long a connection may be silent until it is probed: a whole number
// of seconds, chosen anew at each call.
func Idle() time.Duration {
	return After + time.Second*time.Duration(rand.IntN(int(Spread/time.Second))) //nolint:gosec // no secret
}

// Config is for one connection.
func Config() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: Idle(), Interval: Pause, Count: Count}
}
