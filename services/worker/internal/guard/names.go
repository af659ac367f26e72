package guard

import (
	"strings"
	"sync"
)

// names are those of the traces of all sessions of one browser. The server
// makes files of them in one folder: with the name of another session's trace
// one could read it, or write into it. A name with another one at its beginning
// counts as the same, since the server appends to names.
type names struct {
	mu    sync.Mutex
	taken map[string]*Guard
}

// maxNames is how many names one session may give to traces.
const maxNames = 1000

// claim makes a name a session's own and returns what is wrong with it.
func (n *names) claim(g *Guard, name string) string {
	if why := badName([]byte(name)); why != "" {
		return why
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken[name] == g {
		return ""
	}
	if g.names++; g.names > maxNames {
		return "A session has at most 1000 names of traces. Leave the name out."
	}
	for other, owner := range n.taken {
		if owner != g && (strings.HasPrefix(other, name) || strings.HasPrefix(name, other)) {
			return "A trace of another session on this browser has such a name. Choose another one, or leave the name out."
		}
	}
	if n.taken == nil {
		n.taken = map[string]*Guard{}
	}
	n.taken[name] = g
	return ""
}

// Close gives back what the session has claimed.
func (g *Guard) Close() {
	if g.names == 0 {
		return
	}
	n := &g.rules.names
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, owner := range n.taken {
		if owner == g {
			delete(n.taken, name)
		}
	}
}
