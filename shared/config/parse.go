package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// badValue is a value that does not fit the type of its setting.
type badValue struct {
	place string // file:line, variable or flag
	field *field
	text  string
}

func (e *badValue) Error() string {
	if e.field.secret {
		return fmt.Sprintf("%s: %s must be %s", e.place, e.field.key, e.field.kind.expected())
	}
	return fmt.Sprintf("%s: %s must be %s, not %q", e.place, e.field.key, e.field.kind.expected(), RedactURL(e.text))
}

// parse turns text, from wherever, into a value of the setting's type.
func (f *field) parse(text, place string) (any, error) {
	value, ok := f.kind.parse(text)
	if !ok {
		return nil, &badValue{place: place, field: f, text: text}
	}
	return value, nil
}

func (k kind) parse(text string) (value any, ok bool) {
	if k == kindString {
		return text, true
	}
	text = strings.TrimSpace(text)
	var err error
	switch k {
	case kindBool:
		value, ok = parseBool(text)
		return value, ok
	case kindInt:
		value, err = strconv.Atoi(text)
	case kindFloat:
		value, err = strconv.ParseFloat(text, 64)
	case kindDuration:
		value, err = time.ParseDuration(text)
	case kindList:
		return parseList(text)
	case kindMap:
		return parseMap(text)
	}
	return value, err == nil
}

func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true, true
	case "false", "no", "off", "0":
		return false, true
	}
	return false, false
}

func parseList(text string) ([]string, bool) {
	list := []string{}
	if strings.HasPrefix(text, "[") {
		err := json.Unmarshal([]byte(text), &list)
		return list, err == nil
	}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list, true
}

func parseMap(text string) (map[string]string, bool) {
	pairs := map[string]string{}
	if strings.HasPrefix(text, "{") {
		err := json.Unmarshal([]byte(text), &pairs)
		return pairs, err == nil
	}
	items, _ := parseList(text)
	for _, item := range items {
		k, v, ok := strings.Cut(item, "=")
		if k = strings.TrimSpace(k); !ok || k == "" {
			return nil, false
		}
		pairs[k] = strings.TrimSpace(v)
	}
	return pairs, true
}
