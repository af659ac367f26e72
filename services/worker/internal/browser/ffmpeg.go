package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FfmpegNone is the value of Options.Ffmpeg with which no videos are recorded.
const FfmpegNone = "none"

const (
	ffmpegBuild   = "ffmpeg"
	ffmpegProgram = "ffmpeg-linux" // in the folder of Playwright's build
	buildsName    = "builds"       // the folder of builds, where it is of our making
)

// findFfmpeg decides what records videos: a path, or FfmpegNone. Empty leaves that
// to Playwright, which then uses its own build or, where there is none, fails the
// page that is to be filmed.
func findFfmpeg(o Options, pw playwright) (string, error) {
	switch {
	case o.Ffmpeg == FfmpegNone:
		return FfmpegNone, nil
	case o.Ffmpeg != "":
		path, err := exec.LookPath(o.Ffmpeg)
		if err != nil {
			return "", fmt.Errorf("browser.ffmpeg: there is no program %s", o.Ffmpeg)
		}
		return filepath.Abs(path)
	case pw.has(ffmpegBuild, o.Environ):
		return "", nil
	}
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return "", nil //nolint:nilerr // a worker need not record videos
	}
	return filepath.Abs(path)
}

// films says what records the videos of a server.
func (l launch) films(o Options, pw playwright) string {
	switch {
	case l.ffmpeg == FfmpegNone:
		return "nothing (browser.ffmpeg)"
	case l.ffmpeg != "":
		return l.ffmpeg
	case pw.has(ffmpegBuild, o.Environ):
		return "Playwright's own ffmpeg"
	}
	return "nothing: install ffmpeg, or set browser.ffmpeg"
}

// layOut makes a folder of builds with this ffmpeg in the place where Playwright
// looks for its own, which is the only one that it runs. All other builds are the
// installed ones.
func (pw playwright) layOut(builds, ffmpeg string, environ []string) error {
	if err := os.MkdirAll(builds, 0o700); err != nil {
		return err
	}
	installed, err := filepath.Abs(pw.registry(environ))
	if err != nil {
		return err
	}
	entries, _ := os.ReadDir(installed) // there need be none
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ffmpegBuild+"-") {
			continue
		}
		if err := os.Symlink(filepath.Join(installed, e.Name()), filepath.Join(builds, e.Name())); err != nil {
			return err
		}
	}
	if ffmpeg == FfmpegNone {
		return nil
	}
	for _, folder := range pw.folders(ffmpegBuild) {
		folder = filepath.Join(builds, folder)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		if err := os.Symlink(ffmpeg, filepath.Join(folder, ffmpegProgram)); err != nil {
			return err
		}
	}
	return nil
}
