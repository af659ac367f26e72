package browser

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// byName are the folders of artifacts in which no two sessions share a file, as
// in the folder of artifacts itself. In others a file is named after its content,
// and who finds it there counts on it. Screenshots and ARIA snapshots of traces are
// named after calls, which should not have the names of another session's.
var byName = map[string]bool{".": true, "screencast": true, "screenshots": true, "aria": true}

// Tidy removes what ended sessions left among the artifacts of the server, which
// keeps traces until its browser ends. oldest tells since when the oldest session
// has been there, how long that is, and whether there is any. What was written
// before that is nobody's; of what sessions may share, only when there is none.
func (s *Supervisor) Tidy(oldest func() (since time.Time, age time.Duration, some bool)) {
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	if current == nil {
		return
	}
	folders, _ := filepath.Glob(filepath.Join(filepath.Dir(current.Socket), tempName, "playwright-artifacts-*"))
	for _, folder := range folders {
		// What is in there was written by a browser: no link leads out of it.
		if root, err := os.OpenRoot(folder); err == nil {
			tidy(root, oldest)
			_ = root.Close()
		}
	}
}

func tidy(root *os.Root, oldest func() (time.Time, time.Duration, bool)) {
	now := time.Now()
	_ = fs.WalkDir(root.FS(), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // somebody else has removed it
		}
		// Asked for each file: a session that comes now cannot get so far meanwhile.
		since, age, some := oldest()
		if some && !byName[path.Dir(file)] {
			return nil
		}
		if some {
			since = earlier(since, age)
		} else {
			since = now
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(since) {
			_ = root.Remove(file)
		}
		return nil
	})
}

// earlier is when something began that is of this age: by what the wall clock
// said then, or by what it says now, whichever is earlier. Files bear the time of
// that clock, which may have been set meanwhile, back or forward, and goes on
// while the machine is suspended.
func earlier(began time.Time, age time.Duration) time.Time {
	// Without the readings of the clock that nobody sets, by which they would be compared.
	then, now := began.Round(0), time.Now().Round(0).Add(-age)
	if now.Before(then) {
		return now
	}
	return then
}
