package chaos_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/playwright-distributed/playwright-distributed/shared/state"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// remains lists what Redis still has of sessions and processes that are gone,
// key by key (I3, I4). It is empty when the pool is quiet.
func (w *world) remains() []string {
	var found []string
	prefix := w.Keys.Prefix()
	c := w.Redis.Client
	ctx := context.Background()
	all, err := c.Do(ctx, c.B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil {
		return []string{"no answer: " + err.Error()}
	}
	alive := map[string]int{}
	for _, name := range []string{"workers", "proxies"} {
		ids, err := c.Do(ctx, c.B().Zrange().Key(prefix+name).Min("0").Max("-1").Build()).AsStrSlice()
		if err != nil {
			return []string{"no answer: " + err.Error()}
		}
		alive[name] = len(ids)
	}
	if alive["workers"] != len(w.workers) || alive["proxies"] != w.size.proxies {
		found = append(found, fmt.Sprintf("%d workers and %d proxies, of which %d and %d run",
			alive["workers"], alive["proxies"], len(w.workers), w.size.proxies))
	}
	slices.Sort(all)
	for _, key := range all {
		family, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), ":")
		switch family {
		case "held", "owned", "queue", "waiting", "leases", "classes", "token":
			found = append(found, key)
		case "session":
			text, err := c.Do(ctx, c.B().Get().Key(key).Build()).ToString()
			if phase := state.RecordFields(text)["state"]; err != nil || phase != "ended" && phase != "rejected" {
				found = append(found, key+" "+phase)
			}
		}
	}
	return found
}

// quiet waits until nothing remains, no longer than the pool promises (I3), and
// lists what does in the end.
func (w *world) quiet() (left []string) {
	harness.Holds(w.Settles(), func() bool { left = w.remains(); return len(left) == 0 })
	return left
}
