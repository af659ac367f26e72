package redisx

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// maxPending bounds the keys that wait for Take. Beyond it reading everything
// is cheaper than keeping count.
const maxPending = 4096

// Watcher says which keys of a pattern may have changed.
//
// It gives hints, not facts: a key is named once however often it changed, and
// may be unchanged. Whoever takes hints reads the keys. When hints may have
// been missed, Take says resync, and the taker reads everything.
type Watcher struct {
	client  rueidis.Client
	db      string
	pattern string
	log     *zap.Logger
	wake    chan struct{}
	again   func()

	mu      sync.Mutex
	pending map[string]struct{}
	resync  bool
}

// NewWatcher makes a watcher of the keys of database db that match pattern, in
// which [EscapeGlob] protects what is not meant as one. It does nothing before
// Run.
func NewWatcher(client rueidis.Client, db int, pattern string, log *zap.Logger) *Watcher {
	return &Watcher{
		client:  client,
		db:      strconv.Itoa(db),
		pattern: pattern,
		log:     log,
		wake:    make(chan struct{}, 1),
		pending: map[string]struct{}{},
	}
}

// Again has f called after each new subscription but the first: the server may be
// another one, or have come back with older data. It must come before Run, and f
// must not block.
func (w *Watcher) Again(f func()) { w.again = f }

// Run keeps the subscription alive until ctx ends. Each new subscription asks
// for a resync, the first included. Since a Redis that restarted may have
// forgotten to announce changes, each turns that on again where it is allowed.
func (w *Watcher) Run(ctx context.Context) {
	retry := backoff{first: 100 * time.Millisecond, last: 5 * time.Second}
	pulse := pulseOf(w.client)
	failed, first := false, true
	for ctx.Err() == nil {
		err := w.session(ctx, pulse, func() {
			retry.reset()
			if !first && w.again != nil {
				w.again()
			}
			first = false
			if failed {
				w.log.Info("subscribed to key changes again", zap.String("pattern", w.pattern))
			}
			failed = false
		})
		if ctx.Err() != nil {
			return
		}
		if !failed {
			w.log.Warn("lost the subscription to key changes; subscribing again", zap.String("pattern", w.pattern), zap.String("why", reason(err)))
			failed = true
		}
		pulse.pause(ctx, retry.wait())
	}
}

// session is one subscription, from its confirmation to its loss.
func (w *Watcher) session(ctx context.Context, pulse *pulse, confirmed func()) error {
	live := pulse.now()
	s, err := subscribe(ctx, w.client, w.db, w.pattern, w.onMessage)
	if err != nil {
		return err
	}
	defer s.close()
	if err := turnOn(ctx, s.client); err != nil {
		if !IsReply(err) {
			return err
		}
		// Not ours to set, then: EnsureNotifications has proved at the start
		// that the server sets it.
		w.log.Debug("cannot turn on keyspace notifications", zap.Error(err))
	}
	confirmed()
	// After the subscription, and after notifications are on: a change before
	// this moment is seen by the resync, one after it has been announced.
	w.demandResync()
	select {
	case err := <-s.lost:
		return lostError(err)
	case <-live.Done():
		return lostError(errOutage)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onMessage notes a hint. It runs in the connection's read loop and does
// nothing that takes time.
func (w *Watcher) onMessage(m rueidis.PubSubMessage) {
	_, key, ok := strings.Cut(m.Channel, "__:")
	if !ok {
		return
	}
	w.mu.Lock()
	switch {
	case w.resync:
		// Everything will be read anyway.
	case len(w.pending) >= maxPending:
		clear(w.pending)
		w.resync = true
	default:
		w.pending[key] = struct{}{}
	}
	w.mu.Unlock()
	w.signal()
}

func (w *Watcher) demandResync() {
	w.mu.Lock()
	clear(w.pending)
	w.resync = true
	w.mu.Unlock()
	w.signal()
}

func (w *Watcher) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Wake has a value when Take has something.
func (w *Watcher) Wake() <-chan struct{} { return w.wake }

// Take returns the keys that were named since the last Take, in no order.
// With resync it returns none: then any key may have changed.
func (w *Watcher) Take() (keys []string, resync bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resync = w.resync
	w.resync = false
	if len(w.pending) > 0 {
		keys = slices.Collect(maps.Keys(w.pending))
		clear(w.pending)
	}
	return keys, resync
}
