package tokens

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const usage = `Usage: pwdist-proxy token COMMAND

  new --name NAME [--max-sessions N] [--queue-share 0.5] [--expires 720h] [--file FILE]
        makes a token and prints it, once, with its entry for the tokens file;
        with --file the entry is added there and only the token is printed
  hash  reads a token from standard input and prints its hash
  check --file FILE
        reads a token from standard input and tells which entry it is

Tokens are read from standard input because arguments show in the list of processes.
`

// Command runs "pwdist-proxy token ..." and returns its exit status.
func Command(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) == 0 || args[0] == "-h" || args[0] == "--help":
		_, _ = io.WriteString(stdout, usage)
		return 0
	case args[0] == "new":
		err = create(args[1:], stdout)
	case args[0] == "hash":
		err = hash(args[1:], stdin, stdout)
	case args[0] == "check":
		err = check(args[1:], stdin, stdout)
	default:
		err = errors.New("there is new, hash and check; see pwdist-proxy token --help")
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "pwdist-proxy token:", err)
		return 1
	}
	return 0
}

func flags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return fs
}

func create(args []string, stdout io.Writer) error {
	fs := flags("new")
	name, file := fs.String("name", "", ""), fs.String("file", "", "")
	sessions, share := fs.Int("max-sessions", 0, ""), fs.Float64("queue-share", 0, "")
	expires := fs.Duration("expires", 0, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return errors.New("new takes flags only; see pwdist-proxy token --help")
	}
	secret := NewSecret()
	entry := []string{"name: " + *name, "hash: " + Hash(secret)}
	if *sessions != 0 {
		entry = append(entry, fmt.Sprintf("max_sessions: %d", *sessions))
	}
	if *share != 0 {
		entry = append(entry, fmt.Sprintf("queue_share: %g", *share))
	}
	if *expires < 0 {
		return errors.New("--expires is a time from now, such as 720h")
	}
	if *expires > 0 {
		entry = append(entry, "expires: "+time.Now().Add(*expires).UTC().Format(time.RFC3339))
	}
	if _, err := Parse([]byte(block(entry, ""))); err != nil {
		return err
	}
	if *file == "" {
		_, err := fmt.Fprintf(stdout, "The token, which is not shown again:\n\n  %s\n\nIts entry, for the list \"tokens:\" in the file of tokens.file:\n\n%s", secret, block(entry, "  "))
		return err
	}
	if err := add(*file, entry); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, secret)
	return err
}

// block writes an entry as an item of a YAML list.
func block(entry []string, indent string) string {
	return indent + "- " + strings.Join(entry, "\n"+indent+"  ") + "\n"
}

// add appends an entry to a file. It is written in place, in one step: a file
// that is mounted into a container alone would not be seen to be replaced.
func add(path string, entry []string) error {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return os.WriteFile(path, []byte("tokens:\n"+block(entry, "  ")), 0o600)
	case err != nil:
		return err
	}
	before, err := Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	more := block(entry, indentOf(string(text)))
	if !strings.HasSuffix(string(text), "\n") {
		more = "\n" + more
	}
	after, err := Parse([]byte(string(text) + more))
	if err != nil || len(after) != len(before)+1 {
		return fmt.Errorf("cannot add to %s: nothing was written; make the token without --file and put its entry in by hand: %w",
			path, cmp.Or(err, errors.New("the list is not the end of the file")))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(more)
	return errors.Join(err, f.Close())
}

// indentOf is how far the list of a file is indented.
func indentOf(text string) string {
	for line := range strings.Lines(text) {
		if rest := strings.TrimLeft(line, " "); strings.HasPrefix(rest, "- ") {
			return line[:len(line)-len(rest)]
		}
	}
	return ""
}

// readSecret reads the one line that a token is.
func readSecret(stdin io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(stdin, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

func hash(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) > 0 {
		return errors.New("hash reads the token from standard input, not from the command line, which everybody on this machine can see")
	}
	secret, err := readSecret(stdin)
	if err != nil {
		return err
	}
	if err := checkSecret(secret); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, Hash(secret))
	return err
}

func check(args []string, stdin io.Reader, stdout io.Writer) error {
	fs := flags("check")
	file := fs.String("file", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *file == "" || fs.NArg() > 0 {
		return errors.New("check takes --file FILE and reads the token from standard input")
	}
	set, err := Config{File: *file}.Read()
	if err != nil {
		return err
	}
	secret, err := readSecret(stdin)
	if err != nil {
		return err
	}
	t, err := set.Check(secret, time.Now())
	if err != nil {
		return err
	}
	end := "never ends"
	if !t.Expires.IsZero() {
		end = "ends at " + t.Expires.UTC().Format(time.RFC3339)
	}
	_, err = fmt.Fprintf(stdout, "%s (%s)\n", t.Name, end)
	return err
}
