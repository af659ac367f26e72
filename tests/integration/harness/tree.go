package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Proc is a process as /proc shows it.
type Proc struct {
	PID, Parent int
	Command     string // command line, arguments separated by blanks
	born        string // start time in ticks; tells a pid that was given again
	zombie      bool
}

// Alive tells whether just this process still runs.
func (p Proc) Alive() bool {
	now, ok := procOf(p.PID)
	return ok && now.born == p.born && !now.zombie
}

// Kill sends SIGKILL to just this process.
func (p Proc) Kill() error {
	if !p.Alive() {
		return os.ErrProcessDone
	}
	return syscall.Kill(p.PID, syscall.SIGKILL)
}

func (p Proc) String() string {
	command := p.Command
	if len(command) > 100 {
		command = command[:100] + "…"
	}
	return fmt.Sprintf("%d %s", p.PID, command)
}

// Descendants lists the running descendants of a process.
func Descendants(pid int) []Proc {
	children := map[int][]Proc{}
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		id, _ := strconv.Atoi(filepath.Base(name))
		if p, ok := procOf(id); ok {
			children[p.Parent] = append(children[p.Parent], p)
		}
	}
	var all []Proc
	var walk func(int)
	walk = func(pid int) {
		for _, p := range children[pid] {
			if !p.zombie {
				all = append(all, p)
			}
			walk(p.PID)
		}
	}
	walk(pid)
	return all
}

func procOf(pid int) (Proc, bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Proc{}, false
	}
	// The name in parentheses may hold anything, so count from its end.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const state, parent, born = 0, 1, 19
	if len(f) <= born {
		return Proc{}, false
	}
	p := Proc{PID: pid, born: f[born], zombie: f[state] == "Z" || f[state] == "X"}
	p.Parent, _ = strconv.Atoi(f[parent])
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	p.Command = strings.TrimSpace(string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
	return p, true
}

// adoptOrphans makes this process the parent of descendants whose own parent
// dies: what a killed worker leaves behind stays in sight.
func adoptOrphans() error {
	const prSetChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return fmt.Errorf("become the reaper of orphans: %w", errno)
	}
	return nil
}
