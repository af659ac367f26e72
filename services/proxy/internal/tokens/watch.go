package tokens

import (
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// watcher sees a file change, in whatever way it is changed: written to,
// replaced by a rename, or behind one of the symbolic links that lead to it, as
// Kubernetes does with what it mounts.
type watcher struct {
	w    *fsnotify.Watcher
	path string
	on   map[string]bool
}

func watch(path string) (*watcher, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	x := &watcher{w: w, path: abs, on: map[string]bool{}}
	x.follow()
	if len(x.on) == 0 {
		_ = w.Close()
		return nil, os.ErrNotExist
	}
	return x, nil
}

// follow watches the folders on the way to the file as it is now, and the file
// itself: one that is mounted alone changes without its folder.
func (x *watcher) follow() {
	if x.w == nil {
		return
	}
	places := x.places()
	for place := range x.on {
		if !places[place] {
			_ = x.w.Remove(place)
			delete(x.on, place)
		}
	}
	for place := range places {
		// Once more also where it is watched: a file may be another one by now.
		if x.w.Add(place) == nil {
			x.on[place] = true
		}
	}
}

const maxLinks = 16

func (x *watcher) places() map[string]bool {
	places := map[string]bool{}
	x.trace(x.path, places, 0)
	return places
}

// trace notes the folder of a path and goes where it leads if that or one of the
// folders above is a symbolic link.
func (x *watcher) trace(path string, places map[string]bool, depth int) {
	if depth > maxLinks {
		return
	}
	places[filepath.Dir(path)] = true
	for at := path; at != "/" && at != "."; at = filepath.Dir(at) {
		target, err := os.Readlink(at)
		if err != nil {
			continue
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		places[filepath.Dir(at)] = true
		rest, err := filepath.Rel(at, path)
		if err == nil {
			x.trace(filepath.Join(target, rest), places, depth+1)
		}
		return
	}
	places[path] = true
}

// events and errors are nil without a watch, so nothing ever comes from them.
func (x *watcher) events() <-chan fsnotify.Event {
	if x.w == nil {
		return nil
	}
	return x.w.Events
}

func (x *watcher) errors() <-chan error {
	if x.w == nil {
		return nil
	}
	return x.w.Errors
}

func (x *watcher) close() {
	if x.w != nil {
		_ = x.w.Close()
	}
}
