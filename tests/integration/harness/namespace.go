package harness

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// makeFirst has a command be process 1 of a pid namespace, with a /proc that
// shows this namespace alone. Who dies there without a parent becomes its child.
func makeFirst(cmd *exec.Cmd) {
	cmd.Args = append([]string{"sh", "-c", `mount -t proc none /proc && exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // its mounts are its own
}

// NeedPIDNamespace leaves a test out where the kernel, or the container around
// the test, does not let this user make a pid namespace.
func NeedPIDNamespace(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command("true")
	makeFirst(cmd)
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSYS),
		strings.Contains(string(out), "permission denied"), strings.Contains(string(out), "must be superuser"):
		tb.Skipf("this user may make no pid namespace here: %v %s", err, out)
	default:
		tb.Fatalf("a pid namespace: %v %s", err, out)
	}
}
