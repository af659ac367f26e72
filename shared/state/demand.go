package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Demand is what a client asks of its worker.
type Demand struct {
	Browser    string            `json:"browser"`              // chromium, firefox or webkit
	Playwright string            `json:"playwright,omitempty"` // major.minor; empty = any
	Isolation  string            `json:"isolation,omitempty"`  // context or browser; empty = any
	Require    map[string]string `json:"require,omitempty"`    // labels the worker must have
}

// encode returns the canonical JSON and the class, which is its hash: equal
// demands share one queue.
func (d Demand) encode() (class, text string) {
	b, _ := json.Marshal(d) // strings and string maps always marshal, with sorted keys
	return hash(b), string(b)
}

// Flavour is what placement looks at in a worker. Operators bound how many a
// pool has.
type Flavour struct {
	Browser    string            `json:"browser"`
	Playwright string            `json:"playwright"` // major.minor
	Isolation  []string          `json:"isolation,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

func (f Flavour) encode() (id, text string) {
	b, _ := json.Marshal(f)
	return hash(b), string(b)
}

// Key identifies the flavour; equal flavours have equal keys.
func (f Flavour) Key() string {
	id, _ := f.encode()
	return id
}

// Fits tells whether a worker of this flavour can serve the demand. The
// scripts decide by the same rule.
func (f Flavour) Fits(d Demand) bool {
	if f.Browser != d.Browser || d.Playwright != "" && d.Playwright != f.Playwright {
		return false
	}
	if d.Isolation != "" && !slices.Contains(f.Isolation, d.Isolation) {
		return false
	}
	for k, v := range d.Require {
		if have, ok := f.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// hash is long because clients choose their demands: nobody must be able to
// make two that share a queue.
func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
