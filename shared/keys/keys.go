// Package keys names every Redis key and channel of a pool, one constructor each.
//
// All keys of a pool carry the same hash tag, so that every script touches one
// slot of a Redis Cluster and an ACL user can be given one key pattern.
//
// The comments give for each key: its Redis type, who writes it, who reads it,
// and when it goes away. "Scripts" are those in package state, the only writer
// of pool state.
package keys

import (
	"fmt"
	"regexp"
)

// Pool builds the keys of one pool. The zero value is not usable; see For.
type Pool struct {
	name   string
	prefix string
}

var poolName = regexp.MustCompile(`^[a-z0-9_-]{1,40}$`)

// For returns the keys of the pool with this name: 1 to 40 characters of
// a-z, 0-9, '-' and '_'. Any other name is an error, because the name becomes
// part of a hash tag and of glob patterns.
func For(name string) (Pool, error) {
	if !poolName.MatchString(name) {
		return Pool{}, fmt.Errorf("pool name %q: use 1 to 40 characters of a-z, 0-9, '-' and '_'", name)
	}
	return Pool{name: name, prefix: "{pwdist:" + name + "}:"}, nil
}

// Name is the pool's name.
func (p Pool) Name() string { return p.name }

// Prefix starts every key of the pool; scripts build the keys that they find
// out on their way from it.
func (p Pool) Prefix() string { return p.prefix }

// Worker is a hash: the facts of one worker that change rarely (endpoint,
// flavour, slots, lifetime, state, versions, labels). Written by scripts, read
// by the proxies' fleet cache, for which its keyspace notifications are the
// hint; loads are kept elsewhere so that sessions make no noise here. Deleted
// when the worker has left or is lost.
func (p Pool) Worker(id string) string { return p.prefix + "worker:" + id }

// WorkerPattern matches every Worker key: what a proxy subscribes to. The name
// of a pool has no character that means something in a pattern.
func (p Pool) WorkerPattern() string { return p.prefix + "worker:*" }

// WorkerID is the inverse of Worker; ok is false for any other key.
func (p Pool) WorkerID(key string) (id string, ok bool) {
	n := len(p.prefix) + len("worker:")
	if len(key) <= n || key[:n] != p.prefix+"worker:" {
		return "", false
	}
	return key[n:], true
}

// Probe is a hash that a starting process writes and deletes to prove that
// keyspace notifications arrive. It matches no pattern that anybody keeps
// subscribed.
func (p Pool) Probe(id string) string { return p.prefix + "probe:" + id }

// Changed is a zset: worker id → revision of its last change. Written by
// scripts; a proxy that missed notifications reads the range above the
// revision it knows. Trimmed by revision.
func (p Pool) Changed() string { return p.prefix + "changed" }

// Workers is a zset: worker id → end of its lease in ms of Redis TIME. Written
// by join, heartbeat and the reaper. A zset, because those are silent.
func (p Pool) Workers() string { return p.prefix + "workers" }

// Beats is a zset: worker id → number of its last heartbeat. Written by join
// and heartbeat; goes with the worker.
func (p Pool) Beats() string { return p.prefix + "beats" }

// Proxies is a zset: proxy id → end of its lease in ms of Redis TIME.
// With half a ms it is a lease that another call has given, and the proxy's next
// heartbeat is answered as that of a new one.
func (p Pool) Proxies() string { return p.prefix + "proxies" }

// Held is a set: the sessions that hold a slot of a worker. Its size is the
// worker's load; there is no counter that could leak. Written by scripts;
// empty sets do not exist in Redis, so it goes by itself.
func (p Pool) Held(worker string) string { return p.prefix + "held:" + worker }

// Owned is a set: the queued, assigned and active sessions of a proxy. Written
// by scripts, read by the reaper when the proxy is gone.
func (p Pool) Owned(proxy string) string { return p.prefix + "owned:" + proxy }

// Served is a string: the sessions given to a worker in its lifetime that started
// or may still start. Written by scripts; goes with the worker.
func (p Pool) Served(worker string) string { return p.prefix + "served:" + worker }

// Left is a string: the number of the last heartbeat of a worker that is lost, or the
// largest number there is for one that has left for good, so that a join which is still on its way does not bring it back.
// Expires after two minutes.
func (p Pool) Left(worker string) string { return p.prefix + "left:" + worker }

// Retiring is a zset: worker → when it began to retire, in ms.
func (p Pool) Retiring() string { return p.prefix + "retiring" }

// Parting is a zset: ready worker whose lifetime ends before all its slots are
// taken once more → since when, in ms. Written by scripts, which let so many
// workers of a flavour part as may be missing at a time, and prolong the lifetime
// of others. A worker is in it until it is not ready any more.
func (p Pool) Parting() string { return p.prefix + "parting" }

// Owing is a set: workers with a free slot that clients have a claim on who wait
// behind many of a dead proxy's. Written by scripts that dispatch, which keep
// such a worker out of Free; emptied by reap and by the heartbeats of proxies.
func (p Pool) Owing() string { return p.prefix + "owing" }

// Recycling is a zset: "flavour|endpoint" → until when (ms) the pool counts on
// its next worker. Written when a worker leaves at the end of its lifetime,
// removed when the endpoint joins again.
func (p Pool) Recycling() string { return p.prefix + "recycling" }

// Endpoints is a hash: endpoint → the worker id that announced it last. A join
// on a known endpoint tells that its earlier boot is gone.
func (p Pool) Endpoints() string { return p.prefix + "endpoints" }

// Flavours is a hash: flavour id → JSON of what placement looks at (browser,
// Playwright major.minor, isolation modes, labels). Written by join; removed a
// minute after the last worker of the flavour has gone.
func (p Pool) Flavours() string { return p.prefix + "flavours" }

// Members is a set: the workers of a flavour that are there.
func (p Pool) Members(flavour string) string { return p.prefix + "members:" + flavour }

// Fading is a zset: flavour without workers → when it is forgotten, in ms.
func (p Pool) Fading() string { return p.prefix + "fading" }

// Fits is a hash, a cache: class of demand → the flavours that fit it. Written
// by scripts, dropped whenever Flavours changes.
func (p Pool) Fits() string { return p.prefix + "fits" }

// Free is a zset: the ready workers of a flavour that have capacity, scored by
// load. Written by scripts.
func (p Pool) Free(flavour string) string { return p.prefix + "free:" + flavour }

// Least maps each flavour that has a free worker to a load that none of its free workers is under. Zset.
// Written by whatever changes free, and corrected by acquire and reassign, which read it. Goes with the
// free workers.
func (p Pool) Least() string { return p.prefix + "least" }

// Session is a string: one session's record, a line for each field (see
// state.RecordFields). Written by scripts; expires after its end, and earlier when
// there are too many.
func (p Pool) Session(id string) string { return p.prefix + "session:" + id }

// Ended is a zset: ended session → when, in ms; bounds the records by count.
func (p Pool) Ended() string { return p.prefix + "ended" }

// Leases is a zset: assigned session that has not started → its deadline in ms.
func (p Pool) Leases() string { return p.prefix + "leases" }

// Classes is a hash: class → JSON of the demand, for the classes in which
// somebody waits.
func (p Pool) Classes() string { return p.prefix + "classes" }

// Queue is a zset: the waiting sessions of a class, scored by sequence number.
func (p Pool) Queue(class string) string { return p.prefix + "queue:" + class }

// Waiting is a zset: every waiting session of the pool → sequence number.
func (p Pool) Waiting() string { return p.prefix + "waiting" }

// Token is a zset: the queued, assigned and active sessions that came with the
// token of this name → 0 when it holds a slot, its sequence number when it waits.
// Its size is what the token's limits are held against; there is no counter that
// could leak. Written by scripts; empty zsets do not exist in Redis, so it goes
// by itself.
func (p Pool) Token(name string) string { return p.prefix + "token:" + name }

// Inbox is a stream: what a process must be told, such as grants to a proxy.
// Written by scripts; the reader deletes what it handled. Expires when neither
// its reader nor a writer has renewed it for ten minutes.
func (p Pool) Inbox(process string) string { return p.prefix + "inbox:" + process }

// Events is a stream: the lifecycle log, trimmed by count and age.
func (p Pool) Events() string { return p.prefix + "events" }

// Head is a string: what every call reads first, as words. The schema of the
// scripts that own this data set; the epoch, which is its incarnation; the last
// revision of the fleet; the TIME in ms at which scripts went on after nobody
// could write for a while, 0 for never (until a whole lease has passed since, no
// deadline is judged); and about the last TIME in ms that a script has seen. Its
// absence means that Redis came back empty.
func (p Pool) Head() string { return p.prefix + "head" }

// Tick is an empty string that expires in the year 2100: scripts read the time
// off what it has left to live.
func (p Pool) Tick() string { return p.prefix + "tick" }

// Seq is a string: the last sequence number of a session.
func (p Pool) Seq() string { return p.prefix + "seq" }

// Schema is a string: the version of the scripts that own this data set, where
// releases of before Head look for it.
func (p Pool) Schema() string { return p.prefix + "schema" }
