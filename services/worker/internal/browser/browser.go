// Package browser keeps one Playwright server with one browser running.
//
// The server is playwright-core's own "launch-server" command: a Node process
// that starts the browser and serves the Playwright protocol on a Unix socket
// in a private directory. A TCP port would be open to the pages that the
// browser shows: they could connect to it around the gate.
//
// Whatever way the server ends, its browser ends too, its files go, and a new
// one is started. A server or browser that runs but opens no pages is found by
// a probe, and ended.
package browser

import (
	"time"

	"go.uber.org/zap"
)

// The browsers that Playwright knows.
const (
	Chromium = "chromium"
	Firefox  = "firefox"
	WebKit   = "webkit"
)

// Values of Options.Confine.
const (
	ConfineAuto = "auto" // as far as the kernel can
	ConfineOn   = "on"   // all of it, or the worker does not start
	ConfineOff  = "off"
)

// Options say which browser runs and how.
type Options struct {
	Type         string // chromium, firefox or webkit
	Executable   string // path or name; empty = the best one that is installed
	Channel      string // Playwright's browser channel; empty = none
	Ffmpeg       string // path or name of what records videos; empty = Playwright's own build, else the system's
	Headless     bool
	Args         []string      // further arguments of the browser
	Sandbox      bool          // Chromium's sandbox
	StartTimeout time.Duration // until the server serves; then it counts as failed

	ProbeInterval time.Duration // between the probes of a running browser; 0 = none
	ProbeTimeout  time.Duration // of a probe, see package probe
	Probed        func(took time.Duration, err error)

	// OwnClipboards gives each context of a Chromium its own clipboard; without it
	// all that the browser serves share one.
	OwnClipboards bool

	// EgressPort is the port, on 127.0.0.1, of the HTTP proxy that is the pages'
	// only way to the network; nil = pages reach whatever this machine reaches.
	EgressPort func() int

	Confine string   // auto, on or off: whether the kernel keeps server and browser from the rest of this machine
	Files   []string // files and folders that they read beyond what they need by themselves

	Node          string // path or name of Node.js
	PlaywrightDir string // holds node_modules/playwright-core; empty = look around

	TempDir string   // scratch files go below it; empty = the system's
	Environ []string // of the server, without what is only the worker's
	Log     *zap.Logger
}

// Endpoint is where a running Playwright server listens.
type Endpoint struct {
	Generation int    // counts the servers of this worker from 1
	Socket     string // path of the Unix socket
	Path       string // secret path of the WebSocket
}

// State is what the supervisor tells of its server.
type State struct {
	Up bool
	Endpoint
	BrowserVersion string // when up
	Why            string // when down: one line
	Hung           bool   // when down: it ran but did no work, so it is being killed
}
