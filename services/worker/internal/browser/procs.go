package browser

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killUsers kills every process whose scratch files are below dir, with its
// process group, and returns how many it found.
//
// A browser makes a session of its own, so killing the server's group does not
// reach it. It usually ends by itself when the server's pipe breaks, but not
// when it hangs. The processes are known by their environment, which passes from
// the server to the browser and nobody else has such a TMPDIR, or by the folder
// they work in: Chromium's zygote writes over the environment of all that it
// forks, and one of those that was stopped outlives its browser.
func killUsers(dir string) int {
	found := map[int]bool{}
	// A process may have been about to fork: look until nothing is left.
	for range 100 {
		pids := usersOf(dir)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			found[pid] = true
			if group, err := syscall.Getpgid(pid); err == nil && group != syscall.Getpgrp() {
				_ = syscall.Kill(-group, syscall.SIGKILL)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-time.After(5 * time.Millisecond)
	}
	return len(found)
}

// reap collects processes that became the worker's own when their parent died,
// as they do where the worker is the first process of a container. The server
// must have been waited for.
//
// One that was killed a moment ago may still be ending, and nobody would collect
// it before the next browser ends: so reap waits for them, for half a second at
// most, since somebody else's orphan may go on.
func reap() {
	if os.Getpid() != 1 {
		return
	}
	for range 100 {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		for err == nil && pid > 0 {
			pid, err = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return // no child is left
		}
		<-time.After(5 * time.Millisecond)
	}
}

// usersOf lists these processes.
func usersOf(dir string) []int {
	mark := []byte("\x00TMPDIR=" + dir + "/")
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Not ours to read, or gone: not one of ours either.
		environ, err := os.ReadFile(file)
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(file), "cwd"))
		if err == nil && (bytes.Contains(append([]byte{0}, environ...), mark) || strings.HasPrefix(cwd, dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
