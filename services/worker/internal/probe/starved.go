package probe

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// pressures are where Linux tells for how long some task had to wait for the
// CPU, for a disk, or for memory, which it waits for while the kernel swaps or
// holds a container to its memory.high.
var pressures = pressuresIn("/proc/pressure", "/sys/fs/cgroup")

// pressuresIn are the files of the whole machine and of this container.
func pressuresIn(machine, container string) []string {
	var all []string
	for _, of := range []string{"cpu", "io", "memory"} {
		all = append(all, filepath.Join(machine, of), filepath.Join(container, of+".pressure"))
	}
	return all
}

// starvation returns a clock of the time in which a task of the machine or the
// container waited for what the files tell of, or the main thread of one of the
// processes for the CPU: of what there was least, since they overlap. It stands
// still where the kernel tells nothing, so that a limit is then just a limit.
// Only differences of its readings mean something.
func starvation(files []string, pids ...int) func() time.Duration {
	read := func() []time.Duration {
		var all []time.Duration
		for _, path := range files {
			all = append(all, pressure(path))
		}
		for _, pid := range pids {
			all = append(all, queued(pid))
		}
		return all
	}
	first := read()
	return func() time.Duration {
		var most time.Duration
		for i, now := range read() {
			most = max(most, now-first[i])
		}
		return most
	}
}

// pressure reads the total of the line "some".
func pressure(path string) time.Duration {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	_, total, _ := strings.Cut(line, "total=")
	us, _ := strconv.ParseInt(total, 10, 64)
	return time.Duration(us) * time.Microsecond
}

// queued is how long the main thread of a process has waited for its turn.
func queued(pid int) time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "schedstat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	ns, _ := strconv.ParseInt(fields[1], 10, 64)
	return time.Duration(ns)
}
