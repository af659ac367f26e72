package config

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// flags is a parsed command line: a flag per setting and those that ask for
// something else than running.
type flags struct {
	set     *pflag.FlagSet
	fields  *fields
	config  string
	help    bool
	version bool

	checkConfig   bool
	checkHealth   bool
	printConfig   bool
	printDefaults bool
}

func newFlags(fs *fields) *flags {
	f := &flags{set: pflag.NewFlagSet("", pflag.ContinueOnError), fields: fs}
	f.set.SetOutput(io.Discard)
	f.set.Usage = func() {}
	f.set.StringVar(&f.config, "config", "", "")
	f.set.BoolVarP(&f.help, "help", "h", false, "")
	f.set.BoolVar(&f.version, "version", false, "")
	f.set.BoolVar(&f.checkConfig, "check-config", false, "")
	f.set.BoolVar(&f.checkHealth, "check-health", false, "")
	f.set.BoolVar(&f.printConfig, "print-config", false, "")
	f.set.BoolVar(&f.printDefaults, "print-defaults", false, "")
	for i := range fs.list {
		pf := f.set.VarPF(&flagValue{field: &fs.list[i]}, fs.list[i].key, "", "")
		if fs.list[i].kind == kindBool {
			pf.NoOptDefVal = "true"
		}
	}
	return f
}

func (f *flags) parse(args []string) error {
	err := f.set.Parse(args)
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		known := f.fields.keys()
		f.set.VisitAll(func(pf *pflag.Flag) { known = append(known, pf.Name) })
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		return fmt.Errorf("unknown flag %s%s%s", dashes, name, suggest(name, known, "--"))
	case err != nil:
		return fmt.Errorf("command line: %w", err)
	case f.set.NArg() > 0:
		return fmt.Errorf("unexpected argument %q: settings are given as --name=value, see --help", RedactURL(f.set.Arg(0)))
	}
	return nil
}

// flagValue collects the texts of a flag; the loader parses them, so that an
// error reads the same wherever the value comes from.
type flagValue struct {
	field *field
	texts []string
}

// Set implements pflag.Value.
func (v *flagValue) Set(text string) error {
	v.texts = append(v.texts, text)
	return nil
}

// String implements pflag.Value.
func (v *flagValue) String() string { return strings.Join(v.texts, ",") }

// Type implements pflag.Value.
func (v *flagValue) Type() string { return "setting" }
