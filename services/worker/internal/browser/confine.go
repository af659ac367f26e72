package browser

import (
	"errors"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/confine"
)

// systemFiles are what programs read wherever they run: programs, libraries,
// fonts and certificates, and what the kernel tells. Of /etc it is only what has
// nothing of this machine's users in it.
var systemFiles = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt/google", "/opt/microsoft", "/nix/store", "/snap",
	"/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/chromium", "/etc/chromium.d", "/etc/drirc", "/etc/fonts",
	"/etc/gai.conf", "/etc/glvnd", "/etc/host.conf", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
	"/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/opt", "/etc/pki", "/etc/resolv.conf", "/etc/services", "/etc/ssl",
	"/etc/timezone", "/etc/vulkan", "/run/systemd/resolve",
	"/proc", "/sys/bus", "/sys/class", "/sys/devices", "/sys/fs/cgroup",
	"/dev/random", "/dev/urandom", "/var/cache/fontconfig",
}

// systemDevices are written as well.
var systemDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/dri", "/dev/nvidiactl", "/dev/nvidia0"}

// homeFiles are a user's own fonts and certificates.
var homeFiles = []string{".fonts", ".fonts.conf", ".config/fontconfig", ".local/share/fonts", ".pki/nssdb", ".cache/fontconfig", ".Xauthority"}

// variables name files that programs read.
var variables = []string{
	"NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR", "FONTCONFIG_FILE", "FONTCONFIG_PATH", "LD_LIBRARY_PATH", "XAUTHORITY",
}

// confinement is what a server and its browser reach; nil = all.
func confinement(o Options, node string, pw playwright, l launch, dir string) *confine.Rules {
	if o.Confine == ConfineOff {
		return nil
	}
	r := rules(o)
	r.Read = append(append(append(r.Read, systemFiles...), o.Files...), programFiles(o, node, pw, l)...)
	r.Write = append([]string{dir}, systemDevices...)
	if o.Sandbox {
		// Chromium's sandbox maps the users of its namespaces in /proc/self. Of the
		// processes outside of it these rights reach no memory, which Landlock keeps.
		r.Write = append(r.Write, "/proc")
	}
	if o.Type != Chromium {
		// Chromium is told to share by its scratch folder; the others share here.
		r.Write = append(r.Write, "/dev/shm")
	}
	return r
}

// rules are those without paths.
func rules(o Options) *confine.Rules {
	r := &confine.Rules{HoldNetwork: o.EgressPort != nil}
	if r.HoldNetwork {
		if port := o.EgressPort(); port > 0 {
			r.Ports = []uint16{uint16(port)} //nolint:gosec // it is a port
		}
	}
	return r
}

func programFiles(o Options, node string, pw playwright, l launch) []string {
	home := lookup(o.Environ, "HOME")
	files := []string{filepath.Dir(filepath.Dir(pw.cli)), pw.registry(o.Environ)}
	for _, program := range []string{node, l.ffmpeg, l.executable} {
		if program == "" || program == FfmpegNone {
			continue
		}
		target, err := filepath.EvalSymlinks(program)
		if err != nil {
			target = program
		}
		files = append(files, program, target)
		if dir := filepath.Dir(target); program == l.executable && dir != home && dir != "/" {
			files = append(files, dir) // what a browser needs is beside it
		}
	}
	if filepath.IsAbs(home) {
		for _, f := range homeFiles {
			files = append(files, filepath.Join(home, f))
		}
	}
	for _, name := range variables {
		for _, path := range filepath.SplitList(lookup(o.Environ, name)) {
			if filepath.IsAbs(path) {
				files = append(files, path)
			}
		}
	}
	return files
}

// checkConfinement tells what this kernel cannot do, which is an error where
// all is wanted.
func checkConfinement(o Options) error {
	if o.Confine == ConfineOff {
		if o.EgressPort != nil {
			o.Log.Warn("browser.confine is off: what gets out of the browser's own control gets around egress.guard, and file: URLs read this machine")
		}
		return nil
	}
	missing := (&confine.Rules{HoldNetwork: o.EgressPort != nil}).Missing()
	if len(missing) == 0 {
		return nil
	}
	if o.Confine == ConfineOn {
		return errors.New("browser.confine is on, but this kernel cannot confine " + strings.Join(missing, ", ") + ": set it to auto for what is possible, or to off")
	}
	o.Log.Warn("the browser is not confined in all that it could be", zap.Strings("missing", missing))
	return nil
}
