package faults

import "time"

// Fault is what happens to the bytes of one direction. The zero value lets
// them pass.
type Fault struct {
	fate    fate
	latency time.Duration
	rate    int
}

type fate byte

const (
	pass fate = iota
	hold
	swallow
	shut
)

var (
	// Pass carries every byte at once.
	Pass = Fault{}
	// Hold carries nothing until the fault changes, and loses nothing: a network
	// that is partitioned, for shorter than TCP has patience. The sender finds
	// its buffers full after a while.
	Hold = Fault{fate: hold}
	// Swallow takes every byte and delivers none, neither the end of the stream.
	// A connection that has lost a byte so is reset when the fault changes.
	Swallow = Fault{fate: swallow}
	// Shut ends the stream for the receiver, as if the sender had shut down its
	// side, and swallows what the sender still sends. Such a connection is reset
	// when the fault changes.
	Shut = Fault{fate: shut}
)

// Delay carries every byte so much later than Pass.
func Delay(by time.Duration) Fault { return Fault{latency: by} }

// Throttle carries so many bytes per second on each connection.
func Throttle(bytesPerSecond int) Fault { return Fault{rate: bytesPerSecond} }

// Answer is what becomes of new connections.
type Answer byte

const (
	// Accept connects them to the target.
	Accept Answer = iota
	// Refuse answers with a reset, as a machine does where nobody listens.
	Refuse
	// Silent accepts them, and neither sends nor reads anything. They are reset
	// when the answer changes.
	Silent
	// Ignore does not even answer the handshake, as if packets were lost:
	// connecting takes until the answer changes or the caller's limit is over.
	Ignore
)

func (a Answer) String() string {
	return [...]string{"accept", "refuse", "silent", "ignore"}[a]
}
