// Package chaos holds a test only: many clients use a pool of real programs
// while processes are killed, frozen and restarted and the network between them
// is broken, after a plan that a seed decides. Then everything is healed, and
// what Redis holds and what the clients have written down is held against the
// invariants in ARCHITECTURE.md. The pool's own word is not taken for anything.
package chaos
