package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	scratchPrefix = "pwdist-worker-"
	lockName      = "lock"
	// maxSocketPath is what a Unix socket's address has room for. Where the
	// system's directory for scratch files leaves too little, shortTemp serves.
	maxSocketPath = 107
	longestSocket = scratchPrefix + "4194304-4294967295/999999/" + socketName
	shortTemp     = "/tmp"
	// newborn is the age below which a directory without a lock is left alone:
	// its worker may be about to make one.
	newborn = time.Minute
)

// scratch is the private directory of this worker. The worker holds a lock in
// it for as long as it lives, however it dies: so the next one can tell what a
// dead one left, also where process ids start again or belong to another
// container.
type scratch struct {
	root string
	lock *os.File
	log  *zap.Logger
}

// newScratch makes the directory below base, after removing what dead workers
// of this user left there.
func newScratch(base string, log *zap.Logger) (*scratch, error) {
	base, err := filepath.Abs(base)
	if err != nil {
		return nil, err
	}
	if len(filepath.Join(base, longestSocket)) > maxSocketPath {
		base = shortTemp
	}
	removeLeftovers(base, log)
	root, err := os.MkdirTemp(base, scratchPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("scratch directory: %w", err)
	}
	s := &scratch{root: root, log: log}
	if s.lock, err = newLock(root); err != nil {
		s.close()
		return nil, fmt.Errorf("scratch directory: %w", err)
	}
	return s, nil
}

// child names the directory of one server.
func (s *scratch) child(generation int) string {
	return filepath.Join(s.root, strconv.Itoa(generation))
}

func (s *scratch) close() {
	s.remove(s.root)
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// remove deletes a directory of which processes that are just dying may still
// hold files open.
func (s *scratch) remove(dir string) {
	if err := removeAll(dir); err != nil {
		s.log.Warn("cannot remove scratch files", zap.String("dir", dir), zap.Error(err))
	}
}

func removeAll(dir string) error {
	var err error
	for range 50 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		<-time.After(20 * time.Millisecond)
	}
	return err
}

// lock takes the lock of a file without waiting; the file is made if need be.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// newLock makes the lock of a directory. It is there only once it is held: else
// another worker, which starts at the same time, could take it first and remove
// the directory.
func newLock(root string) (*os.File, error) {
	path := filepath.Join(root, lockName)
	f, err := lock(path + ".new")
	if err != nil {
		return nil, err
	}
	if err := os.Rename(path+".new", path); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func removeLeftovers(base string, log *zap.Logger) {
	dirs, _ := filepath.Glob(filepath.Join(base, scratchPrefix+"*"))
	for _, dir := range dirs {
		removeLeftover(dir, log)
	}
}

func removeLeftover(dir string, log *zap.Logger) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return
	}
	path := filepath.Join(dir, lockName)
	if _, err := os.Lstat(path); err != nil && time.Since(info.ModTime()) < newborn {
		return
	}
	f, err := lock(path)
	if err != nil {
		return // its worker lives
	}
	defer func() { _ = f.Close() }()
	killed := killUsers(dir)
	if err := removeAll(dir); err != nil {
		log.Warn("cannot remove what a dead worker left", zap.String("dir", dir), zap.Error(err))
		return
	}
	log.Info("removed what a dead worker left", zap.String("dir", dir), zap.Int("processes", killed))
}
