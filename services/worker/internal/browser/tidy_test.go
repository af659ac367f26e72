package browser

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What was written before the oldest session goes; what sessions may share only
// when there is none; what is not an artifact never.
func TestTidy(t *testing.T) {
	dir := t.TempDir()
	artifacts := filepath.Join(dir, tempName, "playwright-artifacts-x")
	began := time.Now().Add(-time.Hour)
	put := func(name string, age time.Duration) string {
		path := filepath.Join(artifacts, name)
		write(t, path, "")
		at := began.Add(-age)
		require.NoError(t, os.Chtimes(path, at, at))
		return path
	}
	old, young := put("old.trace", time.Second), put("young.trace", -time.Second)
	oldFrame, youngFrame := put("screencast/old.jpeg", time.Second), put("screencast/young.jpeg", -time.Second)
	shared := put("resources/sha1.html", time.Second)
	profile := put("../playwright_chromiumdev_profile-x/Default/Cookies", time.Second)

	s := &Supervisor{}
	s.Tidy(func() (time.Time, time.Duration, bool) { return began, time.Hour, true }) // no browser, nothing to do
	require.FileExists(t, old)
	s.current = &generation{Endpoint: Endpoint{Socket: filepath.Join(dir, socketName)}}
	s.Tidy(func() (time.Time, time.Duration, bool) { return began, time.Hour, true })
	require.NoFileExists(t, old)
	require.NoFileExists(t, oldFrame)
	for _, path := range []string{young, youngFrame, shared} {
		require.FileExists(t, path)
	}

	s.Tidy(func() (time.Time, time.Duration, bool) { return time.Time{}, 0, false })
	for _, path := range []string{young, youngFrame, shared} {
		require.NoFileExists(t, path)
	}
	require.DirExists(t, filepath.Dir(shared), "the server does not make it again")
	require.FileExists(t, profile)

	// A session that comes meanwhile.
	first, shared := put("a.trace", time.Second), put("resources/sha1.html", time.Second)
	asked := 0
	s.Tidy(func() (time.Time, time.Duration, bool) { asked++; return time.Now(), 0, asked > 1 })
	require.NoFileExists(t, first)
	require.FileExists(t, shared)
}

// The wall clock, whose times files bear, may be set while sessions run.
func TestTidyWhereTheClockWasSet(t *testing.T) {
	artifacts := filepath.Join(t.TempDir(), tempName, "playwright-artifacts-x")
	const age = time.Hour
	for name, set := range map[string]time.Duration{"back": -2 * time.Hour, "forward": 2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(artifacts, name+".trace")
			write(t, path, "")
			began := time.Now().Add(-age - set) // as the clock was then
			written := began.Add(time.Second)
			if set < 0 {
				written = time.Now() // after it was set
			}
			require.NoError(t, os.Chtimes(path, written, written))
			s := &Supervisor{current: &generation{Endpoint: Endpoint{Socket: filepath.Join(filepath.Dir(filepath.Dir(artifacts)), socketName)}}}
			s.Tidy(func() (time.Time, time.Duration, bool) { return began, age, true })
			require.FileExists(t, path)
		})
	}
}
