// Package faults puts a bad network between two programs of a test. A [Link]
// is an address of this machine that leads to another one; each of its two
// directions can be made slow, held up, swallowed or shut, and new connections
// can be refused, or met with silence.
//
// It keeps TCP's promise: what arrives is a prefix of what was sent. A
// connection that has lost bytes never carries another one, and is reset when
// the link is healed; one that was only held up goes on where it stopped.
//
// It needs Linux.
package faults
