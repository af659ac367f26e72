package harness

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// Settings are configuration keys with their values; they become flags.
type Settings map[string]string

// with returns the settings with others over them.
func (s Settings) with(others ...Settings) Settings {
	all := maps.Clone(s)
	if all == nil {
		all = Settings{}
	}
	for _, o := range others {
		maps.Copy(all, o)
	}
	return all
}

func (s Settings) flags() []string {
	var flags []string
	for _, key := range slices.Sorted(maps.Keys(s)) {
		flags = append(flags, "--"+key+"="+s[key])
	}
	return flags
}

// List writes a list as the value of a setting.
func List(items ...string) string {
	b, err := json.Marshal(items)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(b)
}

func itoa(n int) string { return strconv.Itoa(n) }
