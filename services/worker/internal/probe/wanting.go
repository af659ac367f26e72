package probe

import (
	"errors"
	"slices"
	"syscall"
)

// wants are the errors of a process that gets no further socket: it or the
// machine has too many files open, or there is no memory.
var wants = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}

// wanting tells whether a probe failed for want of what the worker itself
// needs. The browser is not to blame, and killing it would end every session.
func wanting(err error) bool {
	return slices.ContainsFunc(wants, func(want error) bool { return errors.Is(err, want) })
}
