package config

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

type about struct{ program, version, line string }

func printVersion(w io.Writer, a about) error {
	v := a.version
	if v == "" {
		v = "dev"
		if bi, ok := debug.ReadBuildInfo(); ok && bi.Main.Version != "" {
			v = bi.Main.Version
		}
	}
	_, err := fmt.Fprintf(w, "%s %s (%s, %s/%s)\n", a.program, v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// show is a value as text, without what must not be seen.
func (f *field) show(v reflect.Value) string {
	if f.secret {
		if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
			return ""
		}
		return "(hidden)"
	}
	switch x := v.Interface().(type) {
	case string:
		return RedactURL(x)
	case time.Duration:
		return shortDuration(x)
	case []string:
		return strings.Join(x, ",")
	case map[string]string:
		pairs := make([]string, 0, len(x))
		for k, v := range x {
			pairs = append(pairs, k+"="+v)
		}
		sort.Strings(pairs)
		return strings.Join(pairs, ",")
	default:
		return fmt.Sprint(x)
	}
}

// shortDuration is "5m" where Duration.String says "5m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// printHelp lists the flags and every setting with its names and default.
func (l *loader) printHelp(w io.Writer, a about, defaults reflect.Value) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s - %s\n\nUsage: %s [--SETTING=VALUE ...]\n\n", a.program, a.line, a.program)
	for _, line := range [][2]string{
		{"--config FILE", "read settings from this YAML file (or " + envConfig + ")"},
		{"--check-config", "check the settings and exit"},
		{"--check-health", "ask the program that runs with these settings whether it is ready, and exit with 0 if so"},
		{"--print-config", "print the settings in force and where each comes from, and exit"},
		{"--print-defaults", "print a settings file with all defaults, and exit"},
		{"--version", "print the version and exit"},
		{"-h, --help", "print this and exit"},
	} {
		fmt.Fprintf(&b, "  %-18s %s\n", line[0], line[1])
	}
	b.WriteString("\nSettings, by falling weight: flag, environment variable, file, default.\n")
	for i := range l.fields.list {
		f := &l.fields.list[i]
		if f.secret {
			fmt.Fprintf(&b, "\n  %s (not as a flag, which others would see)\n", f.key)
		} else {
			fmt.Fprintf(&b, "\n  --%s=%s\n", f.key, f.kind.placeholder())
		}
		if f.doc != "" {
			fmt.Fprintf(&b, "      %s\n", f.doc)
		}
		fmt.Fprintf(&b, "      env %s", strings.Join(append(l.aliasesOf(f.key), f.env), ", "))
		if d := f.show(defaults.FieldByIndex(f.index)); d != "" {
			fmt.Fprintf(&b, "; default %s", d)
		}
		if f.example != "" {
			fmt.Fprintf(&b, "; for example %s", f.example)
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (l *loader) aliasesOf(key string) []string {
	var names []string
	for name, k := range l.aliases {
		if k == key {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// printYAML prints settings as a file that Load reads. With sources every
// value carries where it comes from, without them what it means.
func (l *loader) printYAML(w io.Writer, v reflect.Value, sources map[string]string) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for i := range l.fields.list {
		f := &l.fields.list[i]
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: f.key[strings.LastIndexByte(f.key, '.')+1:]}
		value := f.yamlValue(v.FieldByIndex(f.index))
		if sources == nil {
			name.HeadComment = f.doc
			if f.example != "" {
				name.HeadComment = strings.TrimSpace(f.doc + "\nfor example " + f.example)
			}
		} else {
			place := sources[f.key]
			if place == "" {
				place = "default"
			}
			comment := name
			if value.Kind == yaml.ScalarNode || len(value.Content) == 0 {
				comment = value
			}
			comment.LineComment = place
		}
		parent := groupNode(root, f.key)
		parent.Content = append(parent.Content, name, value)
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return enc.Close()
}

// groupNode finds or makes the mapping that a key's last part belongs into.
func groupNode(n *yaml.Node, key string) *yaml.Node {
	parts := strings.Split(key, ".")
next:
	for _, part := range parts[:len(parts)-1] {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				n = n.Content[i+1]
				continue next
			}
		}
		child := &yaml.Node{Kind: yaml.MappingNode}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: part}, child)
		n = child
	}
	return n
}

func (f *field) yamlValue(v reflect.Value) *yaml.Node {
	node := &yaml.Node{}
	var plain any = f.show(v)
	if !f.secret {
		switch f.kind {
		case kindBool, kindInt, kindFloat:
			plain = v.Interface()
		case kindList:
			plain = append([]string{}, v.Interface().([]string)...)
		case kindMap:
			plain = v.Interface()
		}
	}
	if err := node.Encode(plain); err != nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.Quote(fmt.Sprint(plain))}
	}
	return node
}
