package soak_test

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// measure is something that must not grow.
type measure struct {
	name string
	unit float64 // of the figure in one of the table; bytes in a MiB
	// What it may have grown by in the end: a part of what it was, and so much more.
	part, more float64
}

const mib = 1 << 20

// What processes hold goes up and down with what the collector has not taken yet,
// so it has more room than what is counted.
var all = []measure{
	{name: "scratch files of the calm worker", unit: 1, more: 4},
	{name: "scratch MiB of the calm worker", unit: mib, part: 0.3, more: 2 * mib},
	{name: "scratch files of the rough worker", unit: 1, more: 4},
	{name: "core files", unit: 1},
	{name: "zombies", unit: 1},
	// A page may stand ready for the next session, or not.
	{name: "processes of the calm worker", unit: 1, more: 2},
	{name: "processes of the rough worker", unit: 1, more: 2},
	{name: "descriptors of the calm worker", unit: 1, more: 2},
	{name: "descriptors of the rough worker", unit: 1, more: 2},
	{name: "descriptors of the calm server", unit: 1, more: 4},
	{name: "descriptors of the proxy", unit: 1, more: 2},
	{name: "goroutines of the calm worker", unit: 1, more: 3},
	{name: "goroutines of the rough worker", unit: 1, more: 3},
	{name: "goroutines of the proxy", unit: 1, more: 3},
	{name: "heap MiB of the calm worker", unit: mib, part: 0.1, more: mib},
	{name: "heap MiB of the rough worker", unit: mib, part: 0.1, more: mib},
	{name: "heap MiB of the proxy", unit: mib, part: 0.1, more: mib},
	{name: "RSS MiB of the calm worker", unit: mib, part: 0.2, more: 10 * mib},
	{name: "RSS MiB of the rough worker", unit: mib, part: 0.2, more: 10 * mib},
	{name: "RSS MiB of the proxy", unit: mib, part: 0.2, more: 10 * mib},
	{name: "PSS MiB of the calm server", unit: mib, part: 0.3, more: 50 * mib},
	{name: "PSS MiB of the calm browser", unit: mib, part: 0.3, more: 50 * mib},
	{name: "keys in Redis", unit: 1, more: 1},
	{name: "MiB in Redis without the events", unit: mib, part: 0.1, more: mib / 2},
}

// measures are figures by name.
type measures map[string]float64

// measure waits until nothing of the sessions is there and takes all figures.
func (s *soak) measure() measures {
	s.t.Helper()
	redis := func(args ...string) string {
		got, err := s.p.Redis.Client.Do(context.Background(), s.p.Redis.Client.B().Arbitrary(args[0]).Args(args[1:]...).Build()).ToAny()
		if err != nil {
			s.t.Fatal(err)
		}
		return fmt.Sprint(got)
	}
	harness.Await(s.t, "nobody holds a slot", func() bool {
		return redis("KEYS", s.p.Keys.Held("*")) == "[]" && redis("ZCARD", s.p.Keys.Waiting()) == "0"
	})
	for _, w := range s.p.Workers {
		w.AwaitReady(s.t)
	}
	// What ends with a session ends after the client has gone. The processes of a
	// browser that serves nobody are few, and always the same.
	first := measures{}
	if len(s.taken) > 0 {
		first = s.taken[0]
	}
	m := measures{}
	take := func(name string, value func() float64) {
		m[name] = value()
		limit, known := first[name]
		if !known {
			return
		}
		// Not a failure yet: judge tells what has not come down.
		for range 100 {
			if m[name] <= limit {
				return
			}
			<-time.After(50 * time.Millisecond)
			m[name] = value()
		}
	}
	for role, w := range map[string]*harness.Service{"calm": s.calm, "rough": s.rough} {
		of := " of the " + role + " worker"
		pid := w.Process().PID()
		take("processes"+of, func() float64 { return float64(len(w.Process().Descendants())) })
		take("scratch files"+of, func() float64 { files, _ := scratch(w); return files })
		if role == "calm" {
			take("scratch MiB"+of, func() float64 { _, size := scratch(w); return size })
			take("descriptors of the calm server", func() float64 { return descriptors(children(pid)[0]) })
		}
		take("descriptors"+of, func() float64 { return descriptors(pid) })
		s.program(m, take, w, of)
	}
	take("descriptors of the proxy", func() float64 { return descriptors(s.p.Proxy().Process().PID()) })
	s.program(m, take, s.p.Proxy(), " of the proxy")
	take("zombies", func() float64 { return s.zombies() })
	m["core files"] = s.cores()
	server := children(s.calm.Process().PID())[0]
	m["PSS MiB of the calm server"] = rollup(server, "Pss:")
	for _, d := range s.calm.Process().Descendants() {
		if d.PID != server {
			m["PSS MiB of the calm browser"] += rollup(d.PID, "Pss:")
		}
	}
	take("keys in Redis", func() float64 { return number64(redis("DBSIZE")) })
	m["MiB in Redis without the events"] = memoryOf(redis("INFO", "memory")) - number64(redis("MEMORY", "USAGE", s.p.Keys.Events(), "SAMPLES", "0"))
	return m
}

// program measures one of our programs, its memory after a collection.
func (s *soak) program(m measures, take func(string, func() float64), w *harness.Service, of string) {
	s.t.Helper()
	metric := func(name string) float64 {
		_, text := w.Get("/metrics")
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(line, name+" "); ok {
				return number64(strings.TrimSpace(value))
			}
		}
		s.t.Fatalf("%s has no metric %s", w.Name, name)
		return 0
	}
	// Not the metric: collecting that takes goroutines itself, now so many and now none.
	take("goroutines"+of, func() float64 {
		_, text := w.Get("/debug/pprof/goroutine?debug=1")
		_, total, _ := strings.Cut(text, "goroutine profile: total ")
		number, _, _ := strings.Cut(total, "\n")
		return number64(number)
	})
	for range 2 { // what is in a pool goes in the second
		if status, _ := w.Get("/debug/pprof/heap?gc=1"); status != http.StatusOK {
			s.t.Fatalf("%s does not collect its garbage: status %d", w.Name, status)
		}
	}
	m["heap MiB"+of] = metric("go_memstats_heap_alloc_bytes")
	m["RSS MiB"+of] = rollup(w.Process().PID(), "Rss:")
}

func number64(s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func memoryOf(info string) float64 {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			return number64(value)
		}
	}
	panic("Redis does not tell of its memory: " + info)
}

// scratch counts what is in the scratch folders of a worker.
func scratch(w *harness.Service) (files, bytes float64) {
	own, _ := filepath.Glob(filepath.Join(temp(w), fmt.Sprintf("pwdist-worker-%d-*", w.Process().PID())))
	for _, dir := range own {
		_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // it has just gone
			}
			files++
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				bytes += float64(info.Size())
			}
			return nil
		})
	}
	return files, bytes
}

// temp is the TMPDIR of a process.
func temp(w *harness.Service) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.Process().PID()))
	for v := range strings.SplitSeq(string(b), "\x00") {
		if dir, ok := strings.CutPrefix(v, "TMPDIR="); ok {
			return dir
		}
	}
	return os.TempDir()
}

func descriptors(pid int) float64 {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return float64(len(list))
}

func rollup(pid int, field string) float64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0 // it has just ended
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), field); ok {
			return number64(strings.Fields(rest)[0]) * 1024
		}
	}
	return 0
}

// children lists the processes that one has started, zombies among them.
func children(pid int) (pids []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		for f := range strings.FieldsSeq(string(b)) {
			n, _ := strconv.Atoi(f)
			pids = append(pids, n)
		}
	}
	return pids
}

// zombies counts those below the workers, whom nobody collects but they. Those of
// killed browsers became children of this test, which collects them here.
func (s *soak) zombies() (n float64) {
	var walk func(pid int, visit func(pid int))
	walk = func(pid int, visit func(int)) {
		for _, c := range children(pid) {
			visit(c)
			walk(c, visit)
		}
	}
	for _, w := range s.p.Workers {
		walk(w.Process().PID(), func(pid int) {
			if zombie(pid, "") {
				n++
			}
		})
	}
	for _, pid := range children(os.Getpid()) {
		if zombie(pid, "chrom") {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
	return n
}

func zombie(pid int, name string) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	before, after, ok := strings.Cut(string(b), ") ")
	return ok && after[0] == 'Z' && strings.Contains(before, name)
}

// cores counts core files where the processes work and write.
func (s *soak) cores() (n float64) {
	dirs := map[string]bool{temp(s.calm): true}
	for _, w := range s.p.Workers {
		for _, d := range w.Process().Descendants() {
			if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", d.PID)); err == nil {
				dirs[dir] = true
			}
		}
	}
	for dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, "core*"))
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				n++
			}
		}
	}
	return n
}
