package consume_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/consume"
	"github.com/playwright-distributed/playwright-distributed/streams/event"
)

// TestGroupSparesTheNeighboursOfADeadlyEntry: an entry that kills every process
// becomes poison, and those that were taken along with it do not.
func TestGroupSparesTheNeighboursOfADeadlyEntry(t *testing.T) {
	for name, c := range map[string]struct {
		consumer string // of all runs; each has its own when it is empty
		idle     time.Duration
		limit    int
		given    bool // to the first consumer, which is dead from the start
		runs     int  // until the deadly entry is delivered too often
	}{
		"claimed":             {"", 100 * time.Millisecond, 3, true, 3},
		"its own":             {"me", time.Hour, 3, true, 3},
		"new":                 {"", 100 * time.Millisecond, 2, false, 3},
		"new and only once":   {"", 100 * time.Millisecond, 1, false, 2},
		"own after new":       {"me", time.Hour, 2, false, 3},
		"own after only once": {"me", time.Hour, 1, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool(t)
			ids := p.write(3)
			p.do("XGROUP", "CREATE", p.key, "sink", "0")
			if c.given {
				first := c.consumer
				if first == "" {
					first = "dead"
				}
				p.do("XREADGROUP", "GROUP", "sink", first, "COUNT", "3", "STREAMS", p.key, ">")
			}
			died := make(chan struct{})
			poisons := make(chan *consume.PoisonError, 3)
			got := make(chan string, 1000)
			for run := range c.runs {
				s := newSink(p)
				s.got = got
				s.group.Consumer, s.group.ClaimIdle, s.group.MaxDeliveries = c.consumer, c.idle, c.limit
				s.group.OnPoison = func(_ context.Context, poison *consume.PoisonError) error {
					poisons <- poison
					return nil
				}
				s.handle = func(ctx context.Context, e event.Event) error {
					if e.StreamID != ids[0] {
						return nil
					}
					// A handler that never returns leaves to Redis what a process
					// leaves that was killed.
					died <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
				s.run()
				if run == c.runs-1 {
					break
				}
				select {
				case <-died:
				case poison := <-poisons:
					require.NoError(t, poison)
				case <-time.After(patience):
					t.Fatal("the deadly entry did not come")
				}
			}
			p.allAcked()
			require.Len(t, poisons, 1)
			poison := <-poisons
			require.Equal(t, ids[0], poison.StreamID)
			require.ErrorIs(t, poison, consume.ErrTooManyDeliveries)
			require.ElementsMatch(t, []string{"s2", "s3"}, []string{<-got, <-got})
			require.Empty(t, got)
		})
	}
}
