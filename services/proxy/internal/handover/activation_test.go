package handover_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/handover"
)

// childMark makes the test binary a process that was started with sockets.
const childMark = "PWDIST_TEST_ACTIVATED"

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		activated()
		return
	}
	os.Exit(m.Run())
}

func activated() {
	got, err := handover.Activated("public", "admin")
	if err != nil {
		fmt.Print("error: ", err)
		return
	}
	if got == nil {
		fmt.Print("none")
		return
	}
	for _, name := range []string{"public", "admin"} {
		if ln := got.Listener(name); ln != nil {
			fmt.Print(name, " ", ln.Addr(), "\n")
		}
	}
	if err := got.Serving(); err != nil || os.Getenv("LISTEN_FDS") != "" {
		fmt.Print("error: ", err, os.Environ())
	}
	got.Close()
}

// TestActivated starts processes as systemd does, with descriptors from 3 on.
func TestActivated(t *testing.T) {
	file := func(ln *net.TCPListener) *os.File {
		f, err := ln.File()
		require.NoError(t, err)
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	a, b := listen(t), listen(t)
	public, admin := "public "+a.Addr().String()+"\n", "admin "+b.Addr().String()+"\n"
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer func() { _ = null.Close() }()
	for name, c := range map[string]struct {
		pid, names string
		files      []*os.File
		want       string // all of it
		says       string // a part of it
	}{
		"one without a name":   {pid: "$$", files: []*os.File{file(a)}, want: public},
		"named after its unit": {pid: "$$", names: "pwdist.socket", files: []*os.File{file(a)}, want: public},
		"both":                 {pid: "$$", names: "pwdist.socket:admin", files: []*os.File{file(a), file(b)}, want: public + admin},
		"in the other order":   {pid: "$$", names: "admin:public", files: []*os.File{file(b), file(a)}, want: public + admin},
		"none":                 {pid: "$$", want: "none"},
		"for another process":  {pid: "1", files: []*os.File{file(a)}, want: "none"},
		"two of a kind":        {pid: "$$", names: "x:y", files: []*os.File{file(a), file(b)}, says: `"y" as the public socket: there are two of that kind`},
		"what is no socket":    {pid: "$$", names: "x:admin", files: []*os.File{file(a), null}, says: `"admin" as the admin socket`},
		"how to do it is said": {pid: "$$", names: "x", files: []*os.File{null}, says: `FileDescriptorName= of ["admin"]`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=`+c.pid+` exec "$0"`, os.Args[0])
			cmd.Env = append(os.Environ(), childMark+"=1", "GORACE=atexit_sleep_ms=0", fmt.Sprintf("LISTEN_FDS=%d", len(c.files)), "LISTEN_FDNAMES="+c.names)
			cmd.ExtraFiles = c.files
			out, err := cmd.CombinedOutput()
			require.NoError(t, err)
			if c.says != "" {
				require.Contains(t, string(out), "error: ")
				require.Contains(t, string(out), c.says)
			} else {
				require.Equal(t, c.want, string(out))
			}
		})
	}
}
