package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	children := children()
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

// Zombies lists the children of a process that have ended and that it has not
// collected yet.
func Zombies(pid int) []Proc {
	return slices.DeleteFunc(children()[pid], func(p Proc) bool { return !p.zombie })
}

// children maps processes to those that have them as their parent.
func children() map[int][]Proc {
	children := map[int][]Proc{}
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		id, _ := strconv.Atoi(filepath.Base(name))
		if p, ok := procOf(id); ok {
			children[p.Parent] = append(children[p.Parent], p)
		}
	}
	return children
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
	if p.zombie { // has no command line any more
		p.Command = string(stat[bytes.IndexByte(stat, '(') : bytes.LastIndexByte(stat, ')')+1])
	}
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
