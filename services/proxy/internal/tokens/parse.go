package tokens

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxTokens bounds a set, and with it the time of a check and the labels of
// metrics.
const maxTokens = 1000

var (
	tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	errorLine = regexp.MustCompile(`line (\d+)`)
)

// Parse reads the text of a tokens file, YAML or JSON:
//
//	tokens:
//	  - name: ci
//	    hash: sha256:5e88…
//	    max_sessions: 10
//	    queue_share: 0.5
//	    expires: 2027-01-31T00:00:00Z
//
// A list alone will do as well. Errors name the line and never repeat a value:
// somebody may have put the token itself there.
func Parse(text []byte) ([]Token, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
			return nil, fmt.Errorf("line %s: neither YAML nor JSON", m[1])
		}
		return nil, errors.New("neither YAML nor JSON")
	}
	list, err := listOf(&doc)
	if err != nil {
		return nil, err
	}
	if len(list.Content) > maxTokens {
		return nil, fmt.Errorf("%d tokens are more than the %d that a proxy takes", len(list.Content), maxTokens)
	}
	var all []Token
	var errs []error
	for _, n := range list.Content {
		t, err := parseToken(n)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n.Line, err))
			continue
		}
		all = append(all, t)
	}
	return all, errors.Join(append(errs, distinct(all))...)
}

// listOf finds the list in a document.
func listOf(doc *yaml.Node) (*yaml.Node, error) {
	if doc.Kind == 0 || len(doc.Content) == 0 {
		return nil, errors.New("there is nothing in it")
	}
	n := doc.Content[0]
	if n.Kind == yaml.MappingNode {
		if len(n.Content) != 2 || n.Content[0].Value != "tokens" {
			return nil, fmt.Errorf("line %d: the only key at the top is tokens", n.Line)
		}
		n = n.Content[1]
	}
	if n.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("line %d: tokens is a list of entries with name and hash", n.Line)
	}
	if len(n.Content) == 0 {
		return nil, errors.New("there is no token in it: nobody could connect")
	}
	return n, nil
}

func parseToken(n *yaml.Node) (t Token, err error) {
	if n.Kind != yaml.MappingNode {
		return t, errors.New("a token is an entry with name and hash")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind != yaml.ScalarNode {
			return t, fmt.Errorf("line %d: a value must be a text or a number", key.Line)
		}
		if seen[key.Value] {
			return t, fmt.Errorf("line %d: a key is there twice", key.Line)
		}
		seen[key.Value] = true
		if err := t.set(key.Value, value.Value); err != nil {
			return t, err
		}
	}
	if t.Name == "" || !seen["hash"] {
		return t, errors.New("a token needs name and hash")
	}
	return t, nil
}

func (t *Token) set(key, value string) (err error) {
	switch key {
	case "name":
		if !tokenName.MatchString(value) {
			return errors.New("name has 1 to 63 letters, digits and . _ -, the first a letter or digit")
		}
		t.Name = value
	case "hash":
		t.hash, err = parseHash(value)
	case "max_sessions":
		if t.MaxSessions, err = strconv.Atoi(value); err != nil || t.MaxSessions < 1 {
			return errors.New("max_sessions is a whole number from 1; leave it out for no limit")
		}
	case "queue_share":
		if t.QueueShare, err = strconv.ParseFloat(value, 64); err != nil || !(t.QueueShare > 0 && t.QueueShare <= 1) {
			return errors.New("queue_share is above 0 to 1; leave it out for all of the queue")
		}
	case "expires":
		t.Expires, err = parseTime(value)
	default:
		return errors.New("there is a key that is none of name, hash, max_sessions, queue_share, expires")
	}
	return err
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errors.New("expires is a time such as 2027-01-31T00:00:00Z, or a day")
}

// distinct sees that neither a name nor a hash is there twice.
func distinct(all []Token) error {
	names, hashes := map[string]bool{}, map[[32]byte]string{}
	for _, t := range all {
		if names[t.Name] {
			return fmt.Errorf("the name %s is there twice", t.Name)
		}
		names[t.Name] = true
		if other, ok := hashes[t.hash]; ok {
			return fmt.Errorf("%s and %s are the same token", other, t.Name)
		}
		hashes[t.hash] = t.Name
	}
	return nil
}
