// Package consume reads the event log of a pool from Redis.
//
// There are three ways to read:
//
//   - [Tail] follows the log from a [Position] for as long as its context lives.
//   - [Replay] reads from one position to another and ends.
//   - [Group] shares the log among the processes of one sink, remembers in Redis
//     how far the sink has come, and acknowledges an event only when its handler
//     has returned without an error.
//
// All of them wait in blocking reads, survive a Redis that restarts or fails
// over, and never pass over missing events in silence: when the log was trimmed
// past the reader, or replaced by a new one, they say so with a [GapError].
//
// The readers take a rueidis client. [Connect] makes one from a URL, for those
// who have no other use for it. Tail and Replay need the Redis commands XREAD and
// XINFO on the stream; Group needs XGROUP, XREADGROUP, XACK, XCLAIM, XAUTOCLAIM,
// XPENDING, XINFO and EVALSHA with EVAL.
package consume
