// Package event describes the lifecycle log of a browser pool: what happened to
// its workers and sessions, in the order in which Redis committed it.
//
// The log of a pool is one Redis stream (see [Key]). Each entry is a list of
// flat field/value pairs; [Parse] turns one into an [Event] and [Event.Fields]
// turns it back. An event has a header, which is the same for all types, and one
// part that depends on the family of its type:
//
//	switch {
//	case ev.Type == event.SessionEnded:
//		record(ev.Session.ID, ev.Session.Reason, ev.Session.Active)
//	case ev.Worker != nil:
//		log(ev.Type, ev.Worker.ID, ev.Worker.Reason)
//	}
//
// Package consume reads the log; [State] folds it into the state of the pool.
// docs/events.md in the repository lists every type and field with an example.
//
// # Compatibility
//
// Within a schema version, fields and types are only ever added. What this
// package does not know is kept in [Event.Extra] and written out again by
// [Event.Fields] and as JSON, so a consumer need not be newer than the writers.
// An entry of a higher schema version is read as far as possible and comes with
// a [VersionError], so that its reader can decide.
package event
