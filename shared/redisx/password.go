package redisx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/redis/rueidis"
)

// setPasswordFile makes a file the source of the password. It is read again
// for every connection, so that a new password needs no restart. One that does
// not exist is waited for like a Redis that does not answer, since the two are
// set up together; one that cannot be read is a mistake.
func (a *address) setPasswordFile(path string) error {
	if a.password != "" {
		return setupf(nil, "redis.url holds a password and redis.password_file names another: take it out of redis.url")
	}
	a.passwordFile = path
	if _, err := a.readPassword(); err != nil && !errors.Is(err, errNoPassword) {
		return setupf(err, "redis.password_file cannot be used: %s", err)
	}
	return nil
}

// errNoPassword says that the file is not there (yet).
var errNoPassword = errors.New("there is no such redis.password_file")

func (a address) readPassword() (string, error) {
	b, err := os.ReadFile(a.passwordFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %s", errNoPassword, a.passwordFile)
	case err != nil:
		return "", err
	}
	// Editors and echo end a file with a newline that is not meant.
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" {
		return "", fmt.Errorf("%s is empty", a.passwordFile)
	}
	return password, nil
}

// source names the settings that the user and the password come from.
func (a address) source() string {
	if a.passwordFile != "" {
		return "redis.url and redis.password_file"
	}
	return "redis.url"
}

func (a address) credentials(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
	password, err := a.readPassword()
	return rueidis.AuthCredentials{Username: a.user, Password: password}, err
}
