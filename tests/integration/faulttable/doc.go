// Package faulttable measures what faults do to a pool: how soon each is
// noticed, what clients see, and how soon all is well again. Its test is the
// source of docs/faults.md.
package faulttable
