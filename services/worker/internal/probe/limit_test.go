package probe

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestALimitCountsOnlyTimeInWhichTheCPUWasToBeHad(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct{ elapsed, starved, want time.Duration }{
		"an idle machine":                        {10 * s, 0, 0},
		"half of the time there was no CPU":      {10 * s, 5 * s, 5 * s},
		"and then there was":                     {15 * s, 5 * s, 0},
		"never any CPU":                          {10 * s, 10 * s, 10 * s},
		"never any CPU, but not for ever":        {60 * s, 60 * s, 0},
		"near the most that is granted":          {55 * s, 55 * s, 5 * s},
		"what is left is not worth another look": {10 * s, s / 4, 0},
		"clocks that disagree":                   {10 * s, 20 * s, 10 * s},
		"a clock that goes backwards":            {10 * s, -s, 0},
	} {
		require.Equal(t, c.want, remaining(10*s, c.elapsed, c.starved), name)
	}
}

func TestALimitEndsTheProbe(t *testing.T) {
	var reads int
	ctx, done := withLimit(context.Background(), 10*time.Millisecond, func() time.Duration {
		reads++
		return 0
	})
	defer done()
	<-ctx.Done()
	require.ErrorIs(t, context.Cause(ctx), errLate)
	require.Equal(t, 2, reads, "it is read at the start and when the limit is over")
}

func TestALimitIsStretchedWhileThereIsNoCPU(t *testing.T) {
	began := time.Now()
	ctx, done := withLimit(context.Background(), 10*time.Millisecond, func() time.Duration { return time.Since(began) })
	defer done()
	<-ctx.Done()
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
}

func TestTheKernelTellsOfAThreadThatWaits(t *testing.T) {
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		t.Skip("this kernel does not tell")
	}
	one, other := spinsOnOneCPU(t), spinsOnOneCPU(t)
	require.Eventually(t, func() bool { return min(queued(one), queued(other)) > 10*time.Millisecond }, time.Minute, time.Millisecond,
		"two that want the same CPU have not waited for each other")
	require.Zero(t, queued(1<<30))
	require.Zero(t, pressure("/nowhere"))
}

// spinsOnOneCPU starts a process that wants all of the first CPU that this one
// may use, until the test ends.
func spinsOnOneCPU(t *testing.T) (pid int) {
	var allowed, first unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &allowed))
	for cpu := 0; first.Count() == 0; cpu++ {
		if allowed.IsSet(cpu) {
			first.Set(cpu)
		}
	}
	spin := exec.Command("sh", "-c", "while :; do :; done")
	spin.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, spin.Start())
	t.Cleanup(func() {
		_ = spin.Process.Kill()
		_ = spin.Wait()
	})
	require.NoError(t, unix.SchedSetaffinity(spin.Process.Pid, &first))
	return spin.Process.Pid
}
