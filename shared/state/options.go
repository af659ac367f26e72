package state

import "time"

// Options are the numbers that the scripts work with. All processes of a pool
// should use the same ones.
type Options struct {
	Heartbeat    time.Duration // how often a process renews its lease
	ProcessLease time.Duration // how long a worker or proxy counts as alive without a heartbeat
	StartLease   time.Duration // how long an assigned session may take to start

	EventsMaxEntries int           // entries the event stream keeps, about
	EventsMaxAge     time.Duration // age to which it keeps them, about

	EndedMax int           // records of ended sessions that are kept
	EndedAge time.Duration // how long such a record is kept

	MaxClasses  int // distinct demands that may wait at one time
	MaxFlavours int // distinct kinds of workers in one pool
	MaxSkipped  int // sessions of somebody who is gone that a call may end on its way to what it is about
}

// DefaultOptions returns the documented defaults.
func DefaultOptions() Options {
	return Options{
		Heartbeat:        5 * time.Second,
		ProcessLease:     15 * time.Second,
		StartLease:       10 * time.Second,
		EventsMaxEntries: 200_000,
		EventsMaxAge:     7 * 24 * time.Hour,
		EndedMax:         50_000,
		EndedAge:         time.Hour,
		MaxClasses:       64,
		MaxFlavours:      64,
		MaxSkipped:       100,
	}
}
