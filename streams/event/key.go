package event

import (
	"fmt"
	"regexp"
)

var poolName = regexp.MustCompile(`^[a-z0-9_-]{1,40}$`)

// CheckPool returns an error unless name can be the name of a pool: 1 to 40
// characters of a-z, 0-9, '-' and '_'.
func CheckPool(name string) error {
	if !poolName.MatchString(name) {
		return fmt.Errorf("pool name %q: use 1 to 40 characters of a-z, 0-9, '-' and '_'", name)
	}
	return nil
}

// Key is the Redis stream that holds the events of a pool. It panics when
// [CheckPool] refuses the name: check a name that comes from outside first.
func Key(pool string) string {
	if err := CheckPool(pool); err != nil {
		panic("event: " + err.Error())
	}
	return "{pwdist:" + pool + "}:events"
}
