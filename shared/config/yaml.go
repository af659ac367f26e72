package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/knadh/koanf/maps"
	"go.yaml.in/yaml/v3"
)

// yamlParser is a koanf parser that knows the settings: it names the line of
// what is wrong and gives every value its type. It works on YAML's nodes,
// because a map that is decoded already has lost both.
type yamlParser struct {
	*loader
	path string
	flat map[string]any
}

// Unmarshal implements koanf.Parser.
func (p *yamlParser) Unmarshal(b []byte) (map[string]any, error) {
	p.flat = map[string]any{}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", p.path, err)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one YAML document", p.path)
	}
	if len(doc.Content) > 0 {
		p.group(doc.Content[0], "")
	}
	return maps.Unflatten(p.flat, "."), nil
}

// Marshal implements koanf.Parser.
func (p *yamlParser) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

func (p *yamlParser) place(n *yaml.Node) string { return fmt.Sprintf("%s:%d", p.path, n.Line) }

func (p *yamlParser) group(n *yaml.Node, prefix string) {
	n = resolve(n)
	switch {
	case isNull(n):
		return // a heading whose settings are all commented out
	case n.Kind != yaml.MappingNode:
		what := "the file"
		if prefix != "" {
			what = prefix[:len(prefix)-1]
		}
		p.problem("%s: %s must hold settings as \"name: value\" lines", p.place(n), what)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		p.entry(n.Content[i], n.Content[i+1], prefix)
	}
}

func (p *yamlParser) entry(name, value *yaml.Node, prefix string) {
	key := prefix + name.Value
	if p.fields.groups[key] {
		p.group(value, key+".")
		return
	}
	f := p.fields.byKey[key]
	if f == nil {
		p.problem("%s: unknown setting %s%s", p.place(name), key, didYouMean(key, p.fields.names()))
		return
	}
	if _, twice := p.flat[key]; twice {
		p.problem("%s: %s is set a second time in this file", p.place(name), key)
		return
	}
	v, err := p.value(f, resolve(value))
	if err != nil {
		p.problems = append(p.problems, err)
		return
	}
	p.flat[key] = v
	p.sources[key] = p.place(name)
}

func (p *yamlParser) value(f *field, n *yaml.Node) (any, error) {
	switch {
	case isNull(n):
		return nil, fmt.Errorf("%s: %s has no value: give it one or take the line out", p.place(n), f.key)
	case n.Kind == yaml.ScalarNode:
		return f.parse(n.Value, p.place(n))
	case n.Kind == yaml.SequenceNode && f.kind == kindList:
		list := []string{}
		for _, item := range n.Content {
			if item = resolve(item); item.Kind != yaml.ScalarNode || isNull(item) {
				return nil, fmt.Errorf("%s: %s must be a list of plain values", p.place(item), f.key)
			}
			list = append(list, item.Value)
		}
		return list, nil
	case n.Kind == yaml.MappingNode && f.kind == kindMap:
		pairs := map[string]string{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			value := resolve(n.Content[i+1])
			if value.Kind != yaml.ScalarNode || isNull(value) {
				return nil, fmt.Errorf("%s: %s must hold plain values", p.place(value), f.key)
			}
			pairs[n.Content[i].Value] = value.Value
		}
		return pairs, nil
	}
	return nil, fmt.Errorf("%s: %s must be %s", p.place(n), f.key, f.kind.expected())
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
