package handover

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"
)

// Activated returns the listening sockets that a service manager has opened
// for this process and passed to it as systemd does (LISTEN_FDS), or nil where
// there are none. A socket whose name (LISTEN_FDNAMES) is one of others has that
// name; the one with any other name, or without, is called first.
func Activated(first string, others ...string) (*Taken, error) {
	files := activation.Files(true)
	if len(files) == 0 {
		return nil, nil //nolint:nilnil // documented
	}
	t := &Taken{listeners: map[string]net.Listener{}}
	var problem error
	for _, f := range files {
		given := f.Name()
		name := first
		if slices.Contains(others, given) {
			name = given
		}
		ln, err := net.FileListener(f)
		_ = f.Close()
		if err == nil && t.listeners[name] != nil {
			err = errors.Join(errors.New("there are two of that kind"), ln.Close())
		}
		if err != nil {
			problem = errors.Join(problem, fmt.Errorf("the service manager passed %q as the %s socket: %w", given, name, err))
			continue
		}
		t.listeners[name] = ln
	}
	if problem != nil {
		t.Close()
		return nil, fmt.Errorf("handover: %w (one listening stream socket is wanted, and one more for each FileDescriptorName= of %q)", problem, others)
	}
	return t, nil
}
