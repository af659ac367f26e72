package browser

import (
	"embed"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// modules are what Node loads before the server: survive.mjs keeps it running
// after errors that nobody catches, and pipe.mjs keeps messages between server
// and browser small enough for all sessions, and their clipboards apart. They run beside the server's socket.
//
//go:embed preload/*.mjs
var modules embed.FS

// preload writes the modules to the server's directory and returns Node's
// arguments that load them. With ownClipboards each context of a Chromium has a
// clipboard of its own.
func preload(dir string, ownClipboards bool) ([]string, error) {
	files, err := modules.ReadDir("preload")
	if err != nil {
		return nil, fmt.Errorf("embedded modules: %w", err)
	}
	for _, f := range files {
		b, err := modules.ReadFile("preload/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("embedded modules: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), b, 0o600); err != nil {
			return nil, fmt.Errorf("modules of the Playwright server: %w", err)
		}
	}
	args := make([]string, 0, 4)
	for _, name := range []string{"survive.mjs", "pipe.mjs"} {
		// A URL, since of a path Node would take "?" and "%" for parts of one.
		u := url.URL{Scheme: "file", Path: filepath.Join(dir, name)}
		if ownClipboards && name == "pipe.mjs" {
			u.RawQuery = "clipboard=session"
		}
		args = append(args, "--import", u.String())
	}
	return args, nil
}
