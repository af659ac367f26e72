package browser

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// launch says which browser the server starts: an executable, a channel, or
// with neither Playwright's own build; and which ffmpeg, see findFfmpeg.
type launch struct {
	executable string
	channel    string
	ffmpeg     string
}

func (l launch) String() string {
	switch {
	case l.executable != "":
		return l.executable
	case l.channel != "":
		return "channel " + l.channel
	}
	return "Playwright's own build"
}

// Channels of Playwright that this package chooses by itself.
const (
	channelNewHeadless = "chromium"    // the whole browser instead of the headless shell
	channelMozFirefox  = "moz-firefox" // a Firefox that is not Playwright's build
)

// findBrowser decides what to launch. Playwright's own build goes first,
// because it is what that version was tested with; among Chromiums from
// elsewhere the headless shell, because a page costs a quarter of the CPU there.
func findBrowser(o Options, pw playwright) (launch, error) {
	if o.Executable != "" {
		path, err := exec.LookPath(o.Executable)
		if err != nil {
			return launch{}, fmt.Errorf("browser.executable: there is no program %s", o.Executable)
		}
		path, err = filepath.Abs(path)
		return launch{executable: path, channel: o.Channel}, err
	}
	if o.Channel != "" {
		return launch{channel: o.Channel}, nil
	}
	switch {
	case o.Type == Chromium && o.Headless:
		if pw.has("chromium-headless-shell", o.Environ) {
			return launch{}, nil
		}
		if pw.has(Chromium, o.Environ) {
			return launch{channel: channelNewHeadless}, nil
		}
	case pw.has(o.Type, o.Environ):
		return launch{}, nil
	}
	for _, name := range systemNames(o) {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		l := launch{executable: path}
		if o.Type == Firefox {
			l.channel = channelMozFirefox
		}
		return l, nil
	}
	return launch{}, missing(o, pw)
}

// systemNames are programs of the system, best first.
func systemNames(o Options) []string {
	switch o.Type {
	case Chromium:
		names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}
		if o.Headless {
			names = append([]string{"chromium-headless-shell"}, names...)
		}
		return names
	case Firefox:
		return []string{"firefox-esr", "firefox"}
	}
	return nil // there is no WebKit but Playwright's
}

func missing(o Options, pw playwright) error {
	install := "node " + pw.cli + " install --with-deps " + o.Type
	switch o.Type {
	case Chromium:
		return fmt.Errorf("found no Chromium: install one (Debian: apt-get install %s; elsewhere: %s), or set browser.executable", systemNames(o)[0], install)
	case Firefox:
		return fmt.Errorf("found no Firefox: install one (%s), or set browser.executable", install)
	}
	return fmt.Errorf("found no %s: install it (%s), or set browser.executable", o.Type, install)
}

const oldestNode = 20

// findNode returns the path of Node.js after a look at its version.
func findNode(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("there is no program %s: install Node.js %d or later, or set playwright.node", name, oldestNode)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	version := strings.TrimSpace(string(out))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNode {
		return "", fmt.Errorf("%s is version %s; playwright-core needs Node.js %d or later: install that, or set playwright.node", path, version, oldestNode)
	}
	return path, nil
}
