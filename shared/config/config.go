// Package config reads a program's settings from defaults, a YAML file, the
// environment and flags, each over the one before, and says clearly what is
// wrong with them.
//
// A setting has a dotted key such as "redis.url". In the file it is nested by
// the dots, as a flag it is --redis.url, in the environment
// PWDIST_REDIS__URL: two underscores stand for a dot, because names have
// single ones. An environment variable with an empty value counts as not set,
// since that is what compose files make of an unset one.
package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
)

// Spec describes the settings of one program.
//
// T is a struct whose fields carry `koanf:"name"`, nested structs making the
// levels of the key. A leaf is a string, bool, int, float64, time.Duration,
// []string or map[string]string, and carries `doc:"one line"` for the printed
// documentation, optionally `example:"value"`, and `secret:"true"` if its
// value must never be printed.
//
// A struct inside T that has a method Validate() error is asked by Load,
// before Validate here.
type Spec[T any] struct {
	// Program is the name of the binary.
	Program string
	// Version is printed by --version.
	Version string
	// About is one line for --help.
	About string
	// Defaults holds the value of every setting that nobody sets.
	Defaults T
	// Aliases maps a well-known environment variable without the prefix to the
	// key that it sets: "REDIS_URL" to "redis.url".
	Aliases map[string]string
	// Validate checks what spans several settings. It may join several errors,
	// so that all problems show at once.
	Validate func(*T) error
}

// Outcome says what the program does after Load.
type Outcome int

const (
	// Run with the settings.
	Run Outcome = iota
	// Exit with status 0: --help or the like has been answered.
	Exit
	// CheckHealth asks the program that runs with these settings whether it is
	// ready. The answer is the exit status.
	CheckHealth
)

// Load reads the settings of a program started with args (without the
// program's name) and environ (as from os.Environ). It answers --help,
// --version, --check-config, --print-config and --print-defaults on stdout by
// itself; --check-health is an [Outcome].
//
// Warnings are lines for the log: what was ignored and why. An error joins one
// line per problem and names for each the place it comes from; passwords and
// secrets are in neither.
func Load[T any](spec Spec[T], args, environ []string, stdout io.Writer) (cfg T, warnings []string, outcome Outcome, err error) {
	fields, err := fieldsOf(reflect.TypeOf(spec.Defaults))
	if err != nil {
		return cfg, nil, Run, fmt.Errorf("%s: %w", spec.Program, err)
	}
	l := &loader{
		fields:  fields,
		aliases: spec.Aliases,
		environ: environ,
		ko:      koanf.New("."),
		sources: map[string]string{},
	}
	about := about{program: spec.Program, version: spec.Version, line: spec.About}
	flags := newFlags(fields)
	if err := flags.parse(args); err != nil {
		return cfg, nil, Run, err
	}
	switch {
	case flags.help:
		return cfg, nil, Exit, l.printHelp(stdout, about, reflect.ValueOf(spec.Defaults))
	case flags.version:
		return cfg, nil, Exit, printVersion(stdout, about)
	case flags.printDefaults:
		return cfg, nil, Exit, l.printYAML(stdout, reflect.ValueOf(spec.Defaults), nil)
	}

	if err := l.ko.Load(structs.Provider(spec.Defaults, tagName), nil); err != nil {
		return cfg, nil, Run, fmt.Errorf("defaults: %w", err)
	}
	if err := l.load(flags); err != nil {
		return cfg, l.warnings, Run, err
	}
	if err := l.decode(&cfg); err != nil {
		return cfg, l.warnings, Run, err
	}
	err = distinct(validateParts(reflect.ValueOf(&cfg).Elem()), validate(spec.Validate, &cfg))
	switch {
	case flags.printConfig:
		// Also what is invalid is printed: it is how one finds out why.
		return cfg, l.warnings, Exit, errors.Join(l.printYAML(stdout, reflect.ValueOf(cfg), l.sources), err)
	case err != nil:
		return cfg, l.warnings, Run, err
	case flags.checkConfig:
		_, err = fmt.Fprintln(stdout, "configuration ok")
		return cfg, l.warnings, Exit, err
	case flags.checkHealth:
		return cfg, l.warnings, CheckHealth, nil
	}
	return cfg, l.warnings, Run, nil
}

// decode fills cfg. Every value has its type already; what decoding adds is
// the guarantee that no key is left over.
func (l *loader) decode(cfg any) error {
	err := l.ko.UnmarshalWithConf("", cfg, koanf.UnmarshalConf{
		Tag: tagName,
		DecoderConfig: &mapstructure.DecoderConfig{
			ErrorUnused:      true,
			WeaklyTypedInput: false,
			DecodeHook: mapstructure.ComposeDecodeHookFunc(
				mapstructure.StringToTimeDurationHookFunc(),
				mapstructure.TextUnmarshallerHookFunc(),
			),
		},
	})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

func validate[T any](f func(*T) error, cfg *T) error {
	if f == nil {
		return nil
	}
	return f(cfg)
}

// validateParts asks every struct inside v that can validate itself.
func validateParts(v reflect.Value) error {
	var errs []error
	for _, part := range v.Fields() {
		if part.Kind() != reflect.Struct {
			continue
		}
		if checker, ok := reflect.TypeAssert[interface{ Validate() error }](part); ok {
			errs = append(errs, checker.Validate())
		}
		errs = append(errs, validateParts(part))
	}
	return errors.Join(errs...)
}

// distinct joins errors and drops lines that say the same: a program may
// validate a part that Load has validated.
func distinct(errs ...error) error {
	joined := errors.Join(errs...)
	if joined == nil {
		return nil
	}
	var lines []error
	seen := map[string]bool{}
	var walk func(error)
	walk = func(err error) {
		if many, ok := err.(interface{ Unwrap() []error }); ok && strings.Contains(err.Error(), "\n") {
			for _, e := range many.Unwrap() {
				walk(e)
			}
			return
		}
		if !seen[err.Error()] {
			seen[err.Error()] = true
			lines = append(lines, err)
		}
	}
	walk(joined)
	return errors.Join(lines...)
}
