package tokens

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Config says where the tokens are. Group "tokens".
type Config struct {
	File string `koanf:"file" doc:"YAML or JSON file of the tokens that let clients in, as made by \"pwdist-proxy token new\"; read again when it changes and on SIGHUP. Without tokens everybody who reaches the port is let in." example:"/etc/pwdist/tokens.yaml"`
	List string `koanf:"list" doc:"The same as text, YAML or JSON, in addition to the file. It holds hashes only." secret:"true"`
}

// On tells whether credentials are asked for.
func (c Config) On() bool { return c.File != "" || c.List != "" }

// maxFile bounds what is read.
const maxFile = 1 << 20

// Read reads and checks all tokens. An error names the place and repeats no value.
func (c Config) Read() (*Set, error) {
	var all []Token
	if c.List != "" {
		list, err := Parse([]byte(c.List))
		if err != nil {
			return nil, fmt.Errorf("tokens.list: %w", err)
		}
		all = list
	}
	if c.File != "" {
		text, err := readFile(c.File)
		if err != nil {
			return nil, fmt.Errorf("tokens.file: %w", err)
		}
		list, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("tokens.file %s: %w", c.File, err)
		}
		all = append(all, list...)
	}
	return &Set{tokens: all}, distinct(all)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

// Store has the tokens that are in force.
type Store struct {
	config Config
	log    *zap.Logger
	now    atomic.Pointer[Set]
	// Reloaded, which may be nil, sees every set that came into force later, and
	// nil for a reload that failed. Set it before Run.
	Reloaded func(*Set)
}

// Open reads the tokens.
func Open(c Config, log *zap.Logger) (*Store, error) {
	set, err := c.Read()
	if err != nil {
		return nil, err
	}
	s := &Store{config: c, log: log}
	s.now.Store(set)
	return s, nil
}

// Set is the one in force.
func (s *Store) Set() *Set { return s.now.Load() }

// Check finds the token of a secret, as [Set.Check] does.
func (s *Store) Check(secret string) (Token, error) { return s.Set().Check(secret, time.Now()) }

// reload puts what the file has now into force. A file that cannot be used
// leaves everything as it is.
func (s *Store) reload(why string) {
	set, err := s.config.Read()
	if err != nil {
		s.log.Error("cannot read the tokens again; the earlier ones stay in force", zap.String("why", why), zap.Error(err))
		s.tell(nil)
		return
	}
	before := s.Set()
	if slices.Equal(before.tokens, set.tokens) {
		s.log.Debug("the tokens are unchanged", zap.String("why", why))
		return
	}
	s.now.Store(set)
	s.log.Info("tokens read again", zap.String("why", why), zap.Int("tokens", set.Len()),
		zap.Strings("new", missing(set, before)), zap.Strings("gone", missing(before, set)))
	s.tell(set)
}

func (s *Store) tell(set *Set) {
	if s.Reloaded != nil {
		s.Reloaded(set)
	}
}

// missing lists the names of a that b has not.
func missing(a, b *Set) []string {
	others, names := b.Names(), []string{}
	for _, name := range a.Names() {
		if !slices.Contains(others, name) {
			names = append(names, name)
		}
	}
	return names
}

// Run keeps the tokens as the file has them until the context ends. hup asks
// for a reload whatever has been seen of the file.
func (s *Store) Run(ctx context.Context, hup <-chan os.Signal) {
	if s.config.File == "" {
		return
	}
	w, err := watch(s.config.File)
	if err != nil {
		s.log.Warn("cannot watch the tokens file; send SIGHUP when it has changed", zap.Error(err))
		w = &watcher{}
	}
	defer w.close()
	// What changed between the first reading and the watch.
	s.reload("start")
	settle := time.NewTimer(0)
	<-settle.C
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.reload("SIGHUP")
			w.follow()
		case <-settle.C:
			s.reload("file changed")
			w.follow()
		case _, ok := <-w.events():
			if !ok {
				w = &watcher{}
				continue
			}
			// Several events are one change: a file is cut, written and closed.
			settle.Reset(settleTime)
		case err := <-w.errors():
			if !errors.Is(err, context.Canceled) {
				s.log.Warn("watching the tokens file", zap.Error(err))
			}
			settle.Reset(settleTime)
		}
	}
}

// settleTime is how long a file must rest before it is read.
const settleTime = 100 * time.Millisecond
