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

var builds sync.Map // program → func() (string, error)

// Binary returns the path of one of our programs, which is built once for each
// test binary.
func Binary(t testing.TB, program string) string {
	t.Helper()
	once, _ := builds.LoadOrStore(program, sync.OnceValues(func() (string, error) { return build(program) }))
	path, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func build(program string) (string, error) {
	folder, ok := programs[program]
	if !ok {
		return "", fmt.Errorf("%s is none of our programs", program)
	}
	path := filepath.Join(scratch(), program)
	args := append([]string{"build"}, raceFlags...)
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
