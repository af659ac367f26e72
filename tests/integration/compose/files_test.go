package compose_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), path))
	require.NoError(t, err)
	return text
}

// The image that a worker stands on has the browsers of the Playwright that the
// worker runs, in both places that name it, and the README has clients installed
// that speak with it.
func TestWorkerStandsOnThePinnedPlaywright(t *testing.T) {
	var manifest struct {
		Dependencies map[string]string
	}
	require.NoError(t, json.Unmarshal(read(t, "services/worker/playwright/package.json"), &manifest))
	pinned := manifest.Dependencies["playwright-core"]
	require.NotEmpty(t, pinned)
	base := regexp.MustCompile(`/playwright:v([0-9.]+)-`)
	for _, file := range []string{"deploy/compose/Dockerfile", "deploy/compose/compose.yaml"} {
		found := base.FindAllSubmatch(read(t, file), -1)
		require.NotEmpty(t, found, file)
		for _, version := range found {
			require.Equal(t, pinned, string(version[1]), file)
		}
	}
	minor := regexp.MustCompile(`^\d+\.\d+`).FindString(pinned)
	found := regexp.MustCompile(`here \*\*([0-9.]+)\*\*|playwright@([0-9.]+)|playwright==([0-9.]+)\.\*`).FindAllSubmatch(read(t, "README.md"), -1)
	require.Len(t, found, 3, "what the README says, and has installed for Node and Python")
	for _, version := range found {
		require.Equal(t, minor, string(slices.Concat(version[1:]...)), "README.md: %s", version[0])
	}
}

// What the profile keeps from a browser, whatever else it is given later: the
// ways to change the machine, to look into other processes, and to make
// namespaces other than those of Chromium's sandbox.
func TestSeccompProfile(t *testing.T) {
	var profile struct {
		DefaultAction string
		Syscalls      []struct {
			Names  []string
			Action string
			Args   []struct {
				Index           int
				Value, ValueTwo uint64
				Op              string
			}
		}
	}
	require.NoError(t, json.Unmarshal(read(t, "deploy/compose/seccomp.json"), &profile))
	require.Equal(t, "SCMP_ACT_ERRNO", profile.DefaultAction)

	always, sometimes := map[string]bool{}, map[string][]uint64{}
	for _, rule := range profile.Syscalls {
		if rule.Action != "SCMP_ACT_ALLOW" {
			continue
		}
		for _, name := range rule.Names {
			require.False(t, always[name], "%s is named twice", name)
			if always[name] = len(rule.Args) == 0; !always[name] {
				require.Len(t, rule.Args, 1)
				require.Zero(t, rule.Args[0].Index)
				sometimes[name] = append(sometimes[name], rule.Args[0].Value)
			}
		}
	}
	for _, name := range []string{
		"mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsmount", "mount_setattr", "setns", "unshare",
		"clone", "clone3", "socket", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "bpf",
		"perf_event_open", "userfaultfd", "io_uring_setup", "keyctl", "add_key", "request_key", "init_module", "finit_module",
		"kexec_load", "reboot", "swapon", "settimeofday", "clock_settime", "open_by_handle_at", "name_to_handle_at", "personality",
		"mknod", "mknodat", "quotactl", "acct", "syslog", "sethostname", "iopl", "ioperm", "modify_ldt",
	} {
		require.False(t, always[name], "%s must not be allowed without a condition", name)
	}
	const (
		newTime, newMount, newCgroup, newUTS, newIPC = 0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000
		mounts                                       = newMount | newCgroup | newUTS | newIPC
	)
	require.Equal(t, []uint64{mounts}, sometimes["clone"])
	require.Equal(t, []uint64{mounts | newTime}, sometimes["unshare"])
	require.Equal(t, []uint64{1, 2, 10, 16}, sometimes["socket"], "unix, inet, inet6, netlink")
	require.Len(t, sometimes, 3)
}
