package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Programs that Binary builds, by the folder of their main package.
var programs = map[string]string{
	"pwdist-proxy":  "services/proxy",
	"pwdist-worker": "services/worker",
	"pwdist-events": "streams/cmd/pwdist-events",
}

// Root is the folder of the repository.
var Root = sync.OnceValue(func() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
})

var builds = func() map[string]func() (string, error) {
	m := map[string]func() (string, error){}
	for program, folder := range programs {
		m[program] = sync.OnceValues(func() (string, error) { return build(program, folder) })
		m[program+otherRelease] = sync.OnceValues(func() (string, error) { return build(program+otherRelease, folder, "-tags", "pwdist_other_schema") })
	}
	return m
}()

// Binary returns the path of one of our programs, which is built once for each
// test binary.
func Binary(tb testing.TB, program string) string {
	tb.Helper()
	once, ok := builds[program]
	if !ok {
		tb.Fatalf("%s is none of our programs", program)
	}
	path, err := once()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

func build(program, folder string, flags ...string) (string, error) {
	path := filepath.Join(scratch(), program)
	args := append([]string{"build"}, raceFlags...)
	args = append(args, flags...)
	cmd := exec.Command("go", append(args, "-o", path, ".")...)
	cmd.Dir = filepath.Join(Root(), folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return path, nil
}

// scratch is a folder that lives as long as the test binary.
var scratch = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "pwdist-integration-")
	if err != nil {
		panic(err)
	}
	return dir
})
