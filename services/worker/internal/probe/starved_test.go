package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStarvationIsOfCPUDisksAndMemory(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		grow   map[string]time.Duration
		remove string
		want   time.Duration
	}{
		"nothing":                  {},
		"CPU of the machine":       {grow: map[string]time.Duration{"machine/cpu": s}, want: s},
		"CPU of the container":     {grow: map[string]time.Duration{"container/cpu.pressure": s}, want: s},
		"disks of the machine":     {grow: map[string]time.Duration{"machine/io": s}, want: s},
		"disks of the container":   {grow: map[string]time.Duration{"container/io.pressure": s}, want: s},
		"memory of the machine":    {grow: map[string]time.Duration{"machine/memory": s}, want: s},
		"memory of the container":  {grow: map[string]time.Duration{"container/memory.pressure": s}, want: s},
		"several at the same time": {grow: map[string]time.Duration{"machine/cpu": s, "machine/io": 3 * s, "container/memory.pressure": 2 * s}, want: 3 * s},
		"a kernel that tells less": {grow: map[string]time.Duration{"machine/cpu": s}, remove: "machine/io", want: s},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			machine, container := filepath.Join(dir, "machine"), filepath.Join(dir, "container")
			files := pressuresIn(machine, container)
			require.Len(t, files, 6)
			totals := map[string]time.Duration{}
			grow := func(file string, d time.Duration) {
				totals[file] += d
				text := fmt.Sprintf("some avg10=1.73 avg60=1.51 avg300=1.15 total=%d\nfull avg10=0.14 avg60=0.03 avg300=0.01 total=7\n", totals[file].Microseconds())
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
				require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			}
			for n, file := range files {
				grow(file, time.Duration(n)*time.Minute) // before
			}
			if c.remove != "" {
				require.NoError(t, os.Remove(filepath.Join(dir, c.remove)))
			}
			clock := starvation(files)
			require.Zero(t, clock())
			for file, d := range c.grow {
				grow(filepath.Join(dir, file), d)
			}
			require.Equal(t, c.want, clock())
		})
	}
}
