package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
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
	plain := plainDemand{d.Browser, d.Playwright, d.Isolation}
	if len(d.Require) == 0 {
		if e, ok := encoded.Load(plain); ok {
			e := e.(encodedDemand)
			return e.class, e.text
		}
	}
	b, _ := json.Marshal(d) // strings and string maps always marshal, with sorted keys
	class, text = hash(b), string(b)
	if len(d.Require) == 0 && encodedCount.Add(1) <= maxEncoded {
		encoded.Store(plain, encodedDemand{class, text})
	}
	return class, text
}

// Clients differ in few ways as long as they require no labels, and writing JSON
// costs a session as much as several system calls.
type (
	plainDemand   struct{ browser, playwright, isolation string }
	encodedDemand struct{ class, text string }
)

// maxEncoded bounds what clients can make a process keep.
const maxEncoded = 1000

var (
	encoded      sync.Map // of plainDemand to encodedDemand
	encodedCount atomic.Int32
)

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
