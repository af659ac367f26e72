package browser

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Memory measures what the server and its browser hold, in bytes, with their
// scratch files where these are memory as well; 0 while they are down. What
// processes share counts once (PSS), which the kernel has to work out page by
// page. So that comes second: as long as the resident sizes, where it counts for
// each of them, are not above enough, their sum is the answer.
func (s *Supervisor) Memory(enough int64) int64 {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	if current == nil {
		return 0
	}
	files := filesInMemory(filepath.Dir(current.Socket))
	pids := descendants(current.server)
	if rss := sum(pids, resident); files+rss <= enough {
		return files + rss
	}
	return files + sum(pids, proportional)
}

// filesInMemory is what the files below dir hold of the machine's memory: nothing
// on a disk. Those that have no name any more, by which Chromium's processes
// share memory, count for the processes.
func filesInMemory(dir string) int64 {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
		return 0
	}
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // gone
		}
		if info, err := d.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				const block = 512
				total += stat.Blocks * block // a file may be longer than what it holds
			}
		}
		return nil
	})
	return total
}

func sum(pids []int, of func(pid int) int64) int64 {
	var total int64
	for _, pid := range pids {
		total += of(pid)
	}
	return total
}

// descendants lists a process and all that came from it.
func descendants(pid int) []int {
	children := map[int][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // gone
		}
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(string(fields[1]))
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// resident is the memory of a process, with what it shares with others.
func resident(pid int) int64 { return pages(pid, 1) }

// pages reads a field of statm: 1 is resident, 2 is what of it is shared.
func pages(pid, field int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	fields := strings.Fields(string(b))
	if err != nil || len(fields) <= field {
		return 0
	}
	n, _ := strconv.ParseInt(fields[field], 10, 64)
	return n * int64(os.Getpagesize())
}

// proportional is a process's part of the memory. A process in Chromium's
// sandbox may not be looked into that far; of it only what it has for itself
// counts.
func proportional(pid int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
				return kib << 10
			}
		}
	}
	return pages(pid, 1) - pages(pid, 2)
}
