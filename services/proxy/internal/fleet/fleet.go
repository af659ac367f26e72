// Package fleet is the proxy's memory of the workers: an immutable snapshot
// behind an atomic pointer. Keyspace notifications and the revision that rides
// on every script's reply are only hints that something changed; what changed
// is read in one pipeline. The snapshot answers what needs no commitment, at
// once and also while Redis is away; assignments are committed by scripts.
package fleet

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/shared/keys"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Source is where the fleet is read from; *state.Store is one.
type Source interface {
	Fleet(ctx context.Context) (map[string]state.Member, int64, error)
	Changes(ctx context.Context, after int64) (ids []string, rev int64, ok bool, err error)
	Members(ctx context.Context, ids []string) (map[string]state.Member, error)
	Faded(ctx context.Context) (map[string]state.Flavour, error)
}

// Hints tells that keys may have changed; *redisx.Watcher is one.
type Hints interface {
	Wake() <-chan struct{}
	Take() (keys []string, resync bool)
}

// memory is for how long a kind of worker that has gone counts as coming back.
// It is the time the scripts remember it for.
const memory = time.Minute

const retryAfter = time.Second

// Snapshot is the fleet at one revision. Nobody changes it.
type Snapshot struct {
	Rev     int64
	Workers map[string]state.Member
	// Gone has the flavours that lost their last worker, with when.
	Gone map[string]Departed

	flavours map[string]state.Flavour // that there are workers of, by key
}

// none is that of before the first read.
var none = &Snapshot{}

func newSnapshot(rev int64, workers map[string]state.Member, gone map[string]Departed) *Snapshot {
	s := &Snapshot{Rev: rev, Workers: workers, Gone: gone, flavours: map[string]state.Flavour{}}
	for _, m := range workers {
		if _, known := s.flavours[m.FlavourKey]; !known {
			s.flavours[m.FlavourKey] = m.Flavour()
		}
	}
	return s
}

// Departed is a flavour without workers.
type Departed struct {
	Flavour state.Flavour
	Since   time.Time
}

// Fleet keeps the snapshot current.
type Fleet struct {
	source Source
	hints  Hints
	keys   keys.Pool
	log    *zap.Logger
	now    func() time.Time
	follow func(missed, back []string)

	snapshot atomic.Pointer[Snapshot]
	heard    atomic.Int64 // latest revision that a reply carried
	reset    atomic.Bool  // that revision is of another data set
	nudge    chan struct{}

	synced sync.Once
	ready  chan struct{}
}

// New makes a fleet; Run keeps it current.
func New(source Source, hints Hints, pool keys.Pool, log *zap.Logger) *Fleet {
	f := &Fleet{source: source, hints: hints, keys: pool, log: log, now: time.Now,
		follow: func([]string, []string) {}, nudge: make(chan struct{}, 1), ready: make(chan struct{})}
	f.snapshot.Store(none)
	return f
}

// Follow has it told, behind each change, which workers the pool misses: that
// are not in it any more, for whatever reason, or that somebody could not dial;
// and which ones are there or there again. It must come before Run.
func (f *Fleet) Follow(tell func(missed, back []string)) { f.follow = tell }

// Snapshot returns the fleet as it was last read.
func (f *Fleet) Snapshot() *Snapshot { return f.snapshot.Load() }

// Ready is closed after the first complete read.
func (f *Fleet) Ready() <-chan struct{} { return f.ready }

// Heard takes the revision of a script's reply. One above the snapshot's means
// that a notification was missed or is still on its way.
func (f *Fleet) Heard(rev int64) {
	if rev <= f.heard.Load() {
		return
	}
	f.heard.Store(rev)
	f.wake()
}

// Reset forgets the revision: it was one of a data set that is gone.
func (f *Fleet) Reset() {
	f.reset.Store(true)
	f.wake()
}

func (f *Fleet) wake() {
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// Run keeps the snapshot current until the context ends. The subscription
// stands before the first read, because its first hint is a resync.
func (f *Fleet) Run(ctx context.Context) {
	resync := true
	for ctx.Err() == nil {
		var ids []string
		select {
		case <-ctx.Done():
			return
		case <-f.nudge:
			if f.reset.Swap(false) {
				resync = true
				f.heard.Store(0)
			} else if f.heard.Load() <= f.Snapshot().Rev && !resync {
				continue
			}
		case <-f.hints.Wake():
			changed, all := f.hints.Take()
			resync = resync || all
			for _, key := range changed {
				if id, ok := f.keys.WorkerID(key); ok {
					ids = append(ids, id)
				}
			}
		}
		for {
			err := f.refresh(ctx, resync, ids)
			if err == nil {
				resync = false
				break
			}
			if ctx.Err() != nil || errors.Is(err, context.Canceled) {
				return
			}
			f.log.Warn("cannot read the fleet; keeping what is known", zap.Error(err))
			// Redis is away. Its return shows as a new subscription, whose first
			// hint is a resync; the timer is for an error that breaks no subscription.
			resync = true
			select {
			case <-ctx.Done():
				return
			case <-f.hints.Wake():
				f.hints.Take()
			case <-time.After(retryAfter):
			}
		}
	}
}

// refresh reads what changed: everything, or what happened since the
// snapshot's revision together with the ids that were hinted at.
func (f *Fleet) refresh(ctx context.Context, all bool, hinted []string) error {
	old := f.Snapshot()
	if !all {
		ids, rev, ok, err := f.source.Changes(ctx, old.Rev)
		if err != nil {
			return err
		}
		if ok {
			return f.apply(ctx, old, append(ids, hinted...), rev)
		}
	}
	workers, rev, err := f.source.Fleet(ctx)
	if err != nil {
		return err
	}
	if old == none {
		if old, err = f.before(ctx); err != nil {
			return err
		}
	}
	f.publish(old, workers, rev)
	// A failover may have lost the last revisions, which will come again.
	f.heard.Store(rev)
	f.synced.Do(func() { close(f.ready) })
	return nil
}

// before is what this proxy would remember of the fleet if it had been there: the
// flavours of which the last worker went a moment ago are worth waiting for.
func (f *Fleet) before(ctx context.Context) (*Snapshot, error) {
	faded, err := f.source.Faded(ctx)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Gone: map[string]Departed{}}
	for key, flavour := range faded {
		s.Gone[key] = Departed{Flavour: flavour, Since: f.now()}
	}
	return s, nil
}

func (f *Fleet) apply(ctx context.Context, old *Snapshot, ids []string, rev int64) error {
	if len(ids) == 0 && rev == old.Rev {
		return nil
	}
	read, err := f.source.Members(ctx, ids)
	if err != nil {
		return err
	}
	workers := make(map[string]state.Member, len(old.Workers)+len(read))
	maps.Copy(workers, old.Workers)
	for _, id := range ids {
		if m, there := read[id]; there {
			workers[id] = m
		} else {
			delete(workers, id)
		}
	}
	f.publish(old, workers, rev)
	return nil
}

func (f *Fleet) publish(old *Snapshot, workers map[string]state.Member, rev int64) {
	now := f.now()
	gone := map[string]Departed{}
	for key, d := range old.Gone {
		if now.Sub(d.Since) < memory {
			gone[key] = d
		}
	}
	for key, fl := range old.flavours {
		gone[key] = Departed{Flavour: fl, Since: now}
	}
	next := newSnapshot(rev, workers, gone)
	for key := range next.flavours {
		delete(gone, key)
	}
	f.snapshot.Store(next)
	f.compare(old.Workers, workers)
}

// compare tells the follower what has changed.
func (f *Fleet) compare(old, workers map[string]state.Member) {
	var missed, back []string
	for id := range old {
		if has(old, id) && !has(workers, id) {
			missed = append(missed, id)
		}
	}
	for id := range workers {
		if has(workers, id) && !has(old, id) {
			back = append(back, id)
		}
	}
	if len(missed)+len(back) > 0 {
		f.follow(missed, back)
	}
}

// Has tells whether a worker is in the pool, and nobody has failed to dial it
// since its last heartbeat.
func (s *Snapshot) Has(worker string) bool { return has(s.Workers, worker) }

func has(workers map[string]state.Member, id string) bool {
	m, there := workers[id]
	return there && m.State != state.Suspect
}
