package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

const (
	tagName   = "koanf"
	envPrefix = "PWDIST_"
)

// field is one setting.
type field struct {
	key     string // "redis.url"
	env     string // "PWDIST_REDIS__URL"
	kind    kind
	doc     string
	example string
	secret  bool
	index   []int // path in the struct
}

type fields struct {
	list  []field
	byKey map[string]*field
	byEnv map[string]*field
	// groups are the keys above the leaves: "redis".
	groups map[string]bool
}

// fieldsOf lists the settings of a struct type in the order of its fields. An
// error is a mistake in the program, not of its user.
func fieldsOf(t reflect.Type) (*fields, error) {
	fs := &fields{byKey: map[string]*field{}, byEnv: map[string]*field{}, groups: map[string]bool{}}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("settings must be a struct, not %v", t)
	}
	if err := fs.walk(t, "", nil); err != nil {
		return nil, err
	}
	for i := range fs.list {
		f := &fs.list[i]
		if fs.byKey[f.key] != nil {
			return nil, fmt.Errorf("two fields have the key %s", f.key)
		}
		fs.byKey[f.key], fs.byEnv[f.env] = f, f
	}
	return fs, nil
}

func (fs *fields) walk(t reflect.Type, prefix string, index []int) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get(tagName), ",")
		if !sf.IsExported() || name == "" || strings.Contains(name, ".") {
			return fmt.Errorf("field %s.%s needs to be exported and tagged %s:\"name\"", t, sf.Name, tagName)
		}
		key := prefix + name
		path := append(append([]int{}, index...), i)
		k, ok := kindOf(sf.Type)
		switch {
		case ok:
			fs.list = append(fs.list, field{
				key: key, env: envName(key), kind: k, index: path,
				doc: sf.Tag.Get("doc"), example: sf.Tag.Get("example"), secret: sf.Tag.Get("secret") == "true",
			})
		case sf.Type.Kind() == reflect.Struct:
			fs.groups[key] = true
			if err := fs.walk(sf.Type, key+".", path); err != nil {
				return err
			}
		default:
			return fmt.Errorf("field %s.%s has a type that settings cannot have: %s", t, sf.Name, sf.Type)
		}
	}
	return nil
}

// envName is the variable of a key: "events.max_age", "PWDIST_EVENTS__MAX_AGE".
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// kind is the type of a setting.
type kind int

const (
	kindString kind = iota
	kindBool
	kindInt
	kindFloat
	kindDuration
	kindList
	kindMap
)

var kinds = map[reflect.Type]kind{
	reflect.TypeFor[string]():            kindString,
	reflect.TypeFor[bool]():              kindBool,
	reflect.TypeFor[int]():               kindInt,
	reflect.TypeFor[float64]():           kindFloat,
	reflect.TypeFor[time.Duration]():     kindDuration,
	reflect.TypeFor[[]string]():          kindList,
	reflect.TypeFor[map[string]string](): kindMap,
}

func kindOf(t reflect.Type) (kind, bool) {
	k, ok := kinds[t]
	return k, ok
}

// placeholder is how --help shows a value of the kind.
func (k kind) placeholder() string {
	return [...]string{"TEXT", "true|false", "NUMBER", "NUMBER", "DURATION", "A,B", "KEY=VALUE,..."}[k]
}

// expected is what a value of the kind looks like, for an error.
func (k kind) expected() string {
	return [...]string{
		"a text",
		"true or false",
		"a whole number, such as 5",
		"a number, such as 0.15",
		`a duration with a unit, such as "500ms", "30s" or "5m"`,
		`a list: "a,b", or a JSON array where a value has commas`,
		`pairs: "key=value,key2=value2"`,
	}[k]
}
