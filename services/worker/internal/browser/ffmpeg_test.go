package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFfmpegThatRecords(t *testing.T) {
	for name, c := range map[string]struct {
		set    string
		builds []string // Playwright's own
		system []string // on PATH
		want   string   // a program by its name alone
		films  string
		err    string
	}{
		"own build first":                          {builds: []string{"ffmpeg-44"}, system: []string{"ffmpeg"}, films: "Playwright's own ffmpeg"},
		"own build for an old system":              {builds: []string{"ffmpeg-40"}, system: []string{"ffmpeg"}, films: "Playwright's own ffmpeg"},
		"a build of another revision is not found": {builds: []string{"ffmpeg-43"}, system: []string{"ffmpeg"}, want: "ffmpeg", films: "ffmpeg"},
		"the system's":                             {system: []string{"ffmpeg"}, want: "ffmpeg", films: "ffmpeg"},
		"there is none":                            {films: "nothing: install ffmpeg, or set browser.ffmpeg"},
		"what is set":                              {set: "my-ffmpeg", builds: []string{"ffmpeg-44"}, system: []string{"ffmpeg", "my-ffmpeg"}, want: "my-ffmpeg", films: "my-ffmpeg"},
		"none":                                     {set: "none", builds: []string{"ffmpeg-44"}, system: []string{"ffmpeg", "none"}, want: "none", films: "nothing (browser.ffmpeg)"},
		"what is set and is not there":             {set: "/nowhere/ffmpeg", system: []string{"ffmpeg"}, err: "browser.ffmpeg: there is no program /nowhere/ffmpeg"},
	} {
		t.Run(name, func(t *testing.T) {
			pw, environ := fakePlaywright(t, c.builds...)
			path := t.TempDir()
			for _, program := range c.system {
				write(t, filepath.Join(path, program), "#!/bin/sh\n")
			}
			t.Setenv("PATH", path)
			o := Options{Ffmpeg: c.set, Environ: environ}
			got, err := findFfmpeg(o, pw)
			if c.err != "" {
				require.EqualError(t, err, c.err)
				return
			}
			require.NoError(t, err)
			base := func(path string) string {
				if filepath.IsAbs(path) {
					return filepath.Base(path)
				}
				return path
			}
			require.Equal(t, c.want, base(got))
			require.Equal(t, c.films, base(launch{ffmpeg: got}.films(o, pw)))
		})
	}
}

// Playwright finds this ffmpeg and no other, and its own builds of browsers.
func TestTheFolderOfBuilds(t *testing.T) {
	for _, ffmpeg := range []string{"/opt/ffmpeg/ffmpeg", FfmpegNone} {
		t.Run(filepath.Base(ffmpeg), func(t *testing.T) {
			pw, environ := fakePlaywright(t, "chromium_headless_shell-11", "ffmpeg-44", "ffmpeg-43")
			write(t, filepath.Join(lookup(environ, browsersPath), "chromium_headless_shell-11/shell"), "the shell")
			builds := filepath.Join(t.TempDir(), "builds")
			require.NoError(t, pw.layOut(builds, ffmpeg, environ))

			there := []string{browsersPath + "=" + builds}
			require.True(t, pw.has("chromium-headless-shell", there))
			require.False(t, pw.has("chromium", there))
			shell, err := os.ReadFile(filepath.Join(builds, "chromium_headless_shell-11/shell"))
			require.NoError(t, err)
			require.Equal(t, "the shell", string(shell))
			if ffmpeg == FfmpegNone {
				links, err := filepath.Glob(filepath.Join(builds, "ffmpeg-*"))
				require.NoError(t, err)
				require.Empty(t, links)
				return
			}
			require.NoDirExists(t, filepath.Join(builds, "ffmpeg-43"))
			for _, revision := range []string{"44", "40"} {
				target, err := os.Readlink(filepath.Join(builds, "ffmpeg-"+revision, "ffmpeg-linux"))
				require.NoError(t, err)
				require.Equal(t, ffmpeg, target)
			}
		})
	}
}

// Nothing has to be installed for a worker that has no builds at all.
func TestThereNeedBeNoBuilds(t *testing.T) {
	pw, _ := fakePlaywright(t)
	builds := filepath.Join(t.TempDir(), "builds")
	require.NoError(t, pw.layOut(builds, "/usr/bin/ffmpeg", []string{browsersPath + "=/nowhere"}))
	require.DirExists(t, filepath.Join(builds, "ffmpeg-44"))
}
