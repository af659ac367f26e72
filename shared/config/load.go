package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	envConfig = envPrefix + "CONFIG" // names the file, like --config
	envUp     = envPrefix + "UP_"    // settings of the script that runs a pool on one machine
)

// loader puts the layers over each other and remembers who set what.
type loader struct {
	fields   *fields
	aliases  map[string]string
	environ  []string
	ko       *koanf.Koanf
	sources  map[string]string // key → where its value comes from
	warnings []string
	problems []error
}

func (l *loader) load(flags *flags) error {
	path := flags.config
	if path == "" {
		path = l.lookup(envConfig)
	}
	if path != "" {
		l.loadFile(path)
	}
	l.loadAliases()
	l.loadEnv()
	l.loadFlags(flags)
	return errors.Join(l.problems...)
}

func (l *loader) lookup(name string) string {
	for _, e := range l.environ {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v
		}
	}
	return ""
}

func (l *loader) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Errorf(format, args...))
}

func (l *loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// add loads one layer. Providers report what is wrong with their values to
// the loader, so that one round shows every problem.
func (l *loader) add(p koanf.Provider, parser koanf.Parser) {
	if err := l.ko.Load(p, parser); err != nil {
		l.problems = append(l.problems, err)
	}
}

func (l *loader) loadFile(path string) {
	if _, err := os.Stat(path); err != nil {
		l.problem("cannot read the configuration file: %w", err)
		return
	}
	l.add(file.Provider(path), &yamlParser{loader: l, path: path})
}

func (l *loader) loadAliases() {
	l.add(env.Provider(".", env.Opt{
		EnvironFunc: func() []string { return l.environ },
		TransformFunc: func(name, text string) (string, any) {
			key, ok := l.aliases[name]
			if !ok || text == "" {
				return "", nil
			}
			f := l.fields.byKey[key]
			if f == nil {
				l.problem("alias %s stands for %s, which is not a setting", name, key)
				return "", nil
			}
			if twin := l.lookup(f.env); twin != "" {
				if twin != text {
					l.warn("%s is ignored, because %s is set too and goes before it", name, f.env)
				}
				return "", nil
			}
			return l.set(f, text, name)
		},
	}), nil)
}

func (l *loader) loadEnv() {
	var unknown []string
	l.add(env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return l.environ },
		TransformFunc: func(name, text string) (string, any) {
			f := l.fields.byEnv[name]
			switch {
			case f == nil:
				if _, alias := l.aliases[name]; !alias && name != envConfig && !strings.HasPrefix(name, envUp) {
					unknown = append(unknown, name)
				}
				return "", nil
			case text == "":
				return "", nil
			case f.kind != kindString && isServiceLink(text):
				l.warn("%s is ignored: it is what Kubernetes sets for a service of that name (turn it off with enableServiceLinks: false)", name)
				return "", nil
			}
			return l.set(f, text, name)
		},
	}), nil)
	sort.Strings(unknown)
	for _, name := range unknown {
		l.warn("environment variable %s is not a setting%s", name, didYouMean(name, l.fields.envs()))
	}
}

// isServiceLink recognises the value that Kubernetes gives <SERVICE>_PORT.
func isServiceLink(text string) bool {
	for _, scheme := range []string{"tcp://", "udp://", "sctp://"} {
		if strings.HasPrefix(text, scheme) {
			return true
		}
	}
	return false
}

func (l *loader) loadFlags(flags *flags) {
	l.add(posflag.ProviderWithFlag(flags.set, ".", nil, func(pf *pflag.Flag) (string, any) {
		v, ok := pf.Value.(*flagValue)
		if !ok || !pf.Changed {
			return "", nil
		}
		return l.setAll(v.field, v.texts, "--"+v.field.key)
	}), nil)
}

// set parses a value and notes where it is from. An empty key tells the
// provider to leave it out.
func (l *loader) set(f *field, text, place string) (string, any) {
	return l.setAll(f, []string{text}, place)
}

// setAll is set for a flag given several times: lists and maps add up, of
// anything else the last counts.
func (l *loader) setAll(f *field, texts []string, place string) (string, any) {
	if f.secret && strings.HasPrefix(place, "--") {
		l.problem("%s would show the secret to everybody who lists this machine's processes: use %s or a file", place, f.env)
		return "", nil
	}
	var result any
	for _, text := range texts {
		if strings.HasPrefix(place, "--") && holdsPassword(text) {
			l.warn("%s holds a password, which shows to everybody who lists this machine's processes: use %s or a file", place, f.env)
		}
		value, err := f.parse(text, place)
		if err != nil {
			l.problems = append(l.problems, err)
			return "", nil
		}
		result = combine(result, value)
	}
	l.sources[f.key] = place
	return f.key, result
}

func combine(before, after any) any {
	switch b := before.(type) {
	case []string:
		return append(b, after.([]string)...)
	case map[string]string:
		maps.Copy(b, after.(map[string]string))
		return b
	}
	return after
}

func (fs *fields) keys() []string {
	keys := make([]string, 0, len(fs.list))
	for _, f := range fs.list {
		keys = append(keys, f.key)
	}
	return keys
}

// names are the keys of settings and of groups.
func (fs *fields) names() []string {
	return append(fs.keys(), slices.Sorted(maps.Keys(fs.groups))...)
}

func (fs *fields) envs() []string {
	envs := make([]string, 0, len(fs.list))
	for _, f := range fs.list {
		envs = append(envs, f.env)
	}
	return envs
}
