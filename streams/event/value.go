package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxMillis is the end of the year 9999, the last moment that RFC 3339 can name.
const maxMillis = 253402300799999

const maxDurationMillis = math.MaxInt64 / int64(time.Millisecond)

func parseInt(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("is not a decimal integer: %s", quote(s))
	}
	return n, nil
}

func parseTime(s string) (time.Time, error) {
	ms, err := parseInt(s)
	if err != nil {
		return time.Time{}, err
	}
	if ms < 0 || ms > maxMillis {
		return time.Time{}, fmt.Errorf("is not a time in ms since 1970: %s", quote(s))
	}
	return time.UnixMilli(ms).UTC(), nil
}

// decode sets what p points to from a flat value.
func decode(p any, s string) error {
	switch p := p.(type) {
	case *string:
		*p = s
	case *Reason:
		*p = Reason(s)
	case *WorkerState:
		*p = WorkerState(s)
	case *int64:
		n, err := parseInt(s)
		if err != nil {
			return err
		}
		*p = n
	case *time.Duration:
		n, err := parseInt(s)
		if err != nil {
			return err
		}
		if n > maxDurationMillis || n < -maxDurationMillis {
			return fmt.Errorf("is not a duration in ms: %s", quote(s))
		}
		*p = time.Duration(n) * time.Millisecond
	case *bool:
		if s != "0" && s != "1" {
			return fmt.Errorf("is neither 0 nor 1: %s", quote(s))
		}
		*p = s == "1"
	case *map[string]string:
		return decodeLabels(p, s)
	case *[]string:
		*p = nil
		if s != "" {
			*p = strings.Split(s, ",")
		}
	default:
		panic(fmt.Sprintf("event: no decoding for %T", p))
	}
	return nil
}

func decodeLabels(p *map[string]string, s string) error {
	if s == "" {
		return nil
	}
	var m map[string]*string
	if err := json.Unmarshal([]byte(s), &m); err != nil || m == nil {
		return errors.New("is not a JSON object of strings")
	}
	if len(m) == 0 {
		return nil
	}
	labels := make(map[string]string, len(m))
	for k, v := range m {
		if v == nil {
			return errors.New("is not a JSON object of strings")
		}
		labels[k] = *v
	}
	*p = labels
	return nil
}

// encode is the inverse of decode.
func encode(p any) string {
	switch p := p.(type) {
	case *string:
		return *p
	case *Reason:
		return string(*p)
	case *WorkerState:
		return string(*p)
	case *int64:
		return strconv.FormatInt(*p, 10)
	case *time.Duration:
		return strconv.FormatInt(p.Milliseconds(), 10)
	case *bool:
		if *p {
			return "1"
		}
		return "0"
	case *map[string]string:
		if len(*p) == 0 {
			return ""
		}
		return string(plainJSON(*p))
	case *[]string:
		return strings.Join(*p, ",")
	}
	panic(fmt.Sprintf("event: no encoding for %T", p))
}

// isZero tells whether an optional field may be left out.
func isZero(p any) bool {
	switch p := p.(type) {
	case *int64:
		return *p == 0
	case *time.Duration:
		return p.Milliseconds() == 0
	case *bool:
		return !*p
	case *map[string]string:
		return len(*p) == 0
	}
	return encode(p) == ""
}

// appendValue adds what p points to in JSON.
func appendValue(b []byte, p any) []byte {
	switch p := p.(type) {
	case *int64:
		return strconv.AppendInt(b, *p, 10)
	case *time.Duration:
		return strconv.AppendInt(b, p.Milliseconds(), 10)
	case *bool:
		return strconv.AppendBool(b, *p)
	case *map[string]string:
		if len(*p) == 0 {
			return append(b, "{}"...)
		}
		return append(b, plainJSON(*p)...)
	case *[]string:
		return append(b, plainJSON(slices.Concat([]string{}, *p))...)
	}
	return appendString(b, encode(p))
}

func appendString(b []byte, s string) []byte {
	if !isSimple(s) {
		return append(b, plainJSON(s)...)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// formatName names the format of a field for the documentation.
func formatName(p any) string {
	switch p.(type) {
	case *int64:
		return "integer"
	case *time.Duration:
		return "ms"
	case *bool:
		return "flag"
	case *map[string]string:
		return "labels"
	case *[]string:
		return "list"
	}
	return "text"
}

// plainJSON is JSON without the escaping of <, > and & that is meant for HTML.
func plainJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("event: " + err.Error()) // only strings and collections of them come here
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// isSimple tells whether a string stands in JSON as it is, as nearly all do.
func isSimple(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func quote(s string) string {
	const most = 40
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
