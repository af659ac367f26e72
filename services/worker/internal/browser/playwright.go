package browser

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// playwright is an installed playwright-core package.
type playwright struct {
	cli     string // its command line program
	version string
	builds  []build
}

// build is a browser that this version of Playwright was made for.
type build struct {
	Name      string            `json:"name"`
	Revision  string            `json:"revision"`
	Overrides map[string]string `json:"revisionOverrides"` //nolint:tagliatelle // as playwright-core writes it
}

// installedIn is where the container images put the package.
const installedIn = "/opt/pwdist/playwright"

// findPlaywright looks in dir or, if that is empty, where a checkout and an
// image have the package.
func findPlaywright(dir string) (playwright, error) {
	dirs := []string{dir}
	if dir == "" {
		dirs = playwrightDirs()
	}
	for _, d := range dirs {
		pw, err := readPlaywright(filepath.Join(d, "node_modules", "playwright-core"))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return pw, err
		}
	}
	if dir != "" {
		return playwright{}, fmt.Errorf("there is no node_modules/playwright-core in %s (playwright.dir): run \"npm ci\" there, or set playwright.dir to the folder that has it", dir)
	}
	return playwright{}, errors.New("playwright-core is not installed: run \"npm ci\" in services/worker/playwright, or set playwright.dir to a folder that holds node_modules/playwright-core (looked in " + strings.Join(dirs, ", ") + ")")
}

func playwrightDirs() []string {
	const inCheckout = "services/worker/playwright"
	dirs := []string{inCheckout}
	if exe, err := os.Executable(); err == nil {
		for d := filepath.Dir(exe); ; d = filepath.Dir(d) {
			dirs = append(dirs, filepath.Join(d, inCheckout))
			if d == filepath.Dir(d) {
				break
			}
		}
	}
	return append(dirs, installedIn)
}

func readPlaywright(dir string) (playwright, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return playwright{}, err
	}
	pw := playwright{cli: filepath.Join(dir, "cli.js")}
	var manifest struct {
		Version string `json:"version"`
	}
	var browsers struct {
		Browsers []build `json:"browsers"`
	}
	if _, err := os.Stat(pw.cli); err != nil {
		return playwright{}, err
	}
	if err := readJSON(filepath.Join(dir, "package.json"), &manifest); err != nil {
		return playwright{}, err
	}
	if err := readJSON(filepath.Join(dir, "browsers.json"), &browsers); err != nil {
		return playwright{}, err
	}
	if manifest.Version == "" {
		return playwright{}, fmt.Errorf("%s/package.json has no version", dir)
	}
	pw.version, pw.builds = manifest.Version, browsers.Browsers
	return pw, nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// has tells whether Playwright's own build of this name is installed. The
// marker is the last thing that its installer writes.
func (pw playwright) has(name string, environ []string) bool {
	for _, folder := range pw.folders(name) {
		if _, err := os.Stat(filepath.Join(pw.registry(environ), folder, "INSTALLATION_COMPLETE")); err == nil {
			return true
		}
	}
	return false
}

// folders are those that the build of this name may have among the builds, which
// differ between systems.
func (pw playwright) folders(name string) []string {
	var all []string
	folder := strings.ReplaceAll(name, "-", "_") + "-"
	for _, b := range pw.builds {
		if b.Name != name {
			continue
		}
		all = append(all, folder+b.Revision)
		for _, r := range b.Overrides {
			all = append(all, folder+r)
		}
	}
	return all
}

// browsersPath is the variable that names the folder of Playwright's own builds.
const browsersPath = "PLAYWRIGHT_BROWSERS_PATH"

// registry is the folder of Playwright's own builds.
func (pw playwright) registry(environ []string) string {
	switch dir := lookup(environ, browsersPath); dir {
	case "":
	case "0":
		return filepath.Join(filepath.Dir(pw.cli), ".local-browsers")
	default:
		return dir
	}
	cache := lookup(environ, "XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(lookup(environ, "HOME"), ".cache")
	}
	return filepath.Join(cache, "ms-playwright")
}

func lookup(environ []string, name string) string {
	for _, e := range slices.Backward(environ) {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v
		}
	}
	return ""
}
