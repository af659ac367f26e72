package browser

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memory measures what the server and its browser hold, in bytes; 0 while they
// are down. What processes share counts once (PSS), which the kernel has to work
// out page by page. So that comes second: as long as the resident sizes, where
// it counts for each of them, are not above enough, their sum is the answer.
func (s *Supervisor) Memory(enough int64) int64 {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	if current == nil {
		return 0
	}
	pids := descendants(current.server)
	if rss := sum(pids, resident); rss <= enough {
		return rss
	}
	return sum(pids, proportional)
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
