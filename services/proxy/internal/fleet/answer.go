package fleet

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/playwright-distributed/playwright-distributed/shared/refusal"
	"github.com/playwright-distributed/playwright-distributed/shared/state"
)

// Hopeless tells whether waiting cannot help a demand: the fleet has that
// browser, but only in a form that does not fit, and had no fitting worker in
// the last minute. A browser of which there is no worker at all is worth
// waiting for: it may be starting, recycling, or scaled to zero. It costs by the
// flavours of the fleet, however many workers there are of each: a client that is
// refused comes on the event loop, and may come again and again.
func (s *Snapshot) Hopeless(d state.Demand, now time.Time) (refusal.Refusal, bool) {
	var have []state.Flavour
	for _, f := range s.flavours {
		if f.Fits(d) {
			return refusal.Refusal{}, false
		}
		if f.Browser == d.Browser {
			have = append(have, f)
		}
	}
	if len(have) == 0 {
		return refusal.Refusal{}, false
	}
	for _, g := range s.Gone {
		if now.Sub(g.Since) < memory && g.Flavour.Fits(d) {
			return refusal.Refusal{}, false
		}
	}
	return Unfit(d, have), true
}

// Absent says that there is no worker with the browser of a demand, and which
// browsers there are: no slot of theirs will do. It is empty where there is one.
func (s *Snapshot) Absent(d state.Demand) string {
	var have []state.Flavour
	for _, f := range s.flavours {
		if f.Browser == d.Browser {
			return ""
		}
		have = append(have, f)
	}
	if len(have) == 0 {
		return "This pool has no worker at the moment."
	}
	return fmt.Sprintf("This pool has no %s worker at the moment; it has %s.", d.Browser, list(have, func(f state.Flavour) string { return f.Browser }))
}

// Unfit is the refusal of a demand that none of the flavours there are fits.
// It names what they lack, the version first: the usual case is a client that
// was upgraded before the pool, or after it.
func Unfit(d state.Demand, have []state.Flavour) refusal.Refusal {
	version := d
	version.Isolation, version.Require = "", nil
	isolation := version
	isolation.Isolation = d.Isolation

	switch {
	case !anyFits(have, version):
		return refusal.New(refusal.NoVersion, "Your client speaks Playwright %s; this pool has %s for Playwright %s.",
			d.Playwright, d.Browser, list(have, func(f state.Flavour) string { return f.Playwright }))
	case !anyFits(have, isolation):
		return refusal.New(refusal.NoIsolation, "isolation=%s was asked for; this pool's %s workers offer %s.",
			d.Isolation, d.Browser, list(have, func(f state.Flavour) string { return strings.Join(f.Isolation, ", ") }))
	default:
		return refusal.New(refusal.NoLabels, "Required: %s; this pool's %s workers have: %s.",
			pairs(d.Require), d.Browser, list(have, func(f state.Flavour) string {
				if len(f.Labels) == 0 {
					return "no labels"
				}
				return pairs(f.Labels)
			}))
	}
}

func anyFits(have []state.Flavour, d state.Demand) bool {
	for _, f := range have {
		if f.Fits(d) {
			return true
		}
	}
	return false
}

func list(have []state.Flavour, of func(state.Flavour) string) string {
	seen := map[string]bool{}
	var all []string
	for _, f := range have {
		if text := of(f); !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	sort.Strings(all)
	return strings.Join(all, "; ")
}

func pairs(m map[string]string) string {
	all := make([]string, 0, len(m))
	for k, v := range m {
		all = append(all, fmt.Sprintf("%s=%s", k, v))
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}
