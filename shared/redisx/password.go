package redisx

import (
	"fmt"
	"os"
	"strings"

	"github.com/redis/rueidis"
)

// setPasswordFile makes a file the source of the password. It must hold one
// now, since a wrong path is a mistake that waiting does not mend; later it is
// read again for every connection, so that a new password needs no restart.
func (a *address) setPasswordFile(path string) error {
	if a.password != "" {
		return setupf(nil, "redis.url holds a password and redis.password_file names another: take it out of redis.url")
	}
	a.passwordFile = path
	if _, err := a.readPassword(); err != nil {
		return setupf(err, "redis.password_file cannot be used: %s", err)
	}
	return nil
}

func (a address) readPassword() (string, error) {
	b, err := os.ReadFile(a.passwordFile)
	if err != nil {
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
