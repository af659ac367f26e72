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
	s.Tidy(func() (time.Time, bool) { return began, true }) // no browser, nothing to do
	require.FileExists(t, old)
	s.current = &generation{Endpoint: Endpoint{Socket: filepath.Join(dir, socketName)}}
	s.Tidy(func() (time.Time, bool) { return began, true })
	require.NoFileExists(t, old)
	require.NoFileExists(t, oldFrame)
	for _, path := range []string{young, youngFrame, shared} {
		require.FileExists(t, path)
	}

	s.Tidy(func() (time.Time, bool) { return time.Time{}, false })
	for _, path := range []string{young, youngFrame, shared} {
		require.NoFileExists(t, path)
	}
	require.DirExists(t, filepath.Dir(shared), "the server does not make it again")
	require.FileExists(t, profile)

	// A session that comes meanwhile.
	first, shared := put("a.trace", time.Second), put("resources/sha1.html", time.Second)
	asked := 0
	s.Tidy(func() (time.Time, bool) { asked++; return time.Now(), asked > 1 })
	require.NoFileExists(t, first)
	require.FileExists(t, shared)
}
