// Package confine starts programs that reach no more of this machine than they
// are given: files by Landlock, the network by Landlock and seccomp. There is no
// way back for them, nor for what they start, and no program of ours is in
// between: a thread takes the confinement upon itself and starts the program.
package confine

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Rules say what a program reaches. Paths that do not exist are left out.
type Rules struct {
	Read  []string // files and folders that it reads, and executes
	Write []string // those that it reads and writes as well, but does not execute

	// HoldNetwork leaves it TCP to Ports, on whichever host, and Unix sockets: no
	// datagrams, and nothing that listens.
	HoldNetwork bool
	Ports       []uint16
}

// Go runs f on a thread of its own, which is confined and ends with f. What f
// starts is confined as well; other goroutines are not. The error is why the
// rules could not be applied: nothing may be started then. With no rules the
// thread is just f's own.
func Go(r *Rules, f func(error)) {
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends instead of doing other work
		if unix.Gettid() != unix.Getpid() {
			f(r.apply())
			return
		}
		// The main thread is the one that stands for the process, and must stay as
		// it is. While it is held here the other goroutine gets another.
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			f(r.apply())
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
}

// apply confines the calling thread for good.
func (r *Rules) apply() error {
	if r == nil {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := r.restrict(landlockABI()); err != nil {
		return err
	}
	if r.HoldNetwork {
		return filterSockets()
	}
	return nil
}

// Missing lists what of these rules this kernel cannot do; the rest is applied
// all the same.
func (r *Rules) Missing() []string {
	var missing []string
	switch abi := landlockABI(); {
	case abi < abiFiles:
		missing = append(missing, "files (Landlock is not there: it needs Linux 5.13, enabled, and a container that allows it)")
		if r.HoldNetwork {
			missing = append(missing, "TCP connections (the same)")
		}
	case abi < abiNetwork && r.HoldNetwork:
		missing = append(missing, "TCP connections (this Landlock is too old: it needs Linux 6.7)")
	}
	if r.HoldNetwork && !canFilter() {
		missing = append(missing, "datagrams (seccomp filters are not there)")
	}
	return missing
}
