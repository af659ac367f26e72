package gate

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/guard"
)

func guarded(o *Options) { o.Guard = guard.New(guard.Options{CDP: guard.CDPFilter}) }

func textFrame(text string, masked bool) string {
	b := frame([]byte(text), masked)
	b[0] = 0x81
	return string(b)
}

// A refused call is answered between two messages of the server, also when one
// is under way, and what goes on is untouched.
func TestRefusedCallIsAnsweredBetweenMessages(t *testing.T) { // I9
	r := newRig(t, guarded)
	client, server := r.open("s")
	bad := textFrame(`{"id":7,"guid":"browser@1","method":"killForTests","params":{}}`, true)
	good := textFrame(`{"id":8,"guid":"page@1","method":"close","params":{},"metadata":{}}`, true)

	long := string(frame([]byte(strings.Repeat("x", 1000)), false))
	server.send(long[:500])
	client.take(long[:500])
	client.send(bad + good)
	server.take(good)       // so the guard has dealt with both
	server.send(long[500:]) // the answer stands behind it
	client.take(long[500:])
	head := make([]byte, 4)
	_, err := io.ReadFull(client.in, head)
	require.NoError(t, err)
	require.Equal(t, []byte{0x81, 126}, head[:2])
	text := make([]byte, int(head[2])<<8|int(head[3]))
	_, err = io.ReadFull(client.in, text)
	require.NoError(t, err)
	require.Contains(t, string(text), `{"id":7,"error":{"error":{"name":"Error","message":"The pool refuses Browser.killForTests: `)

	_ = client.Close()
	_, _ = io.Copy(io.Discard, server.in)
	_ = server.Close()
	require.Equal(t, clientClosed, r.waitEnd().Reason)
}

// What the server could read otherwise ends the session with a reason, and the
// server has nothing of it.
func TestAmbiguousMessageEndsTheSession(t *testing.T) { // I9
	r := newRig(t, guarded)
	client, server := r.open("s")
	client.send(textFrame(`{"id":7,"guid":"page@1","guid":"browser@1","method":"killForTests","params":{}}`, true))
	got, err := io.ReadAll(client.in)
	require.NoError(t, err)
	require.Equal(t, byte(0x88), got[0])
	require.Equal(t, closingPolicy, int(got[2])<<8|int(got[3]))
	require.Contains(t, string(got), "key twice")
	_ = client.Close()
	seen, _ := io.ReadAll(server.in)
	require.Empty(t, seen)
	_ = server.Close()
	require.Equal(t, policy, r.waitEnd().Reason)
}

// BenchmarkGuardedRoundTrip is a call and its answer through the gate, with the
// client and the server in this process. The difference of cpu-us/op between
// the two is the guard.
func BenchmarkGuardedRoundTrip(b *testing.B) {
	call := textFrame(fmt.Sprintf(`{"id":12345,"guid":"frame@0123456789abcdef0123456789abcdef","method":"evaluateExpression","params":{"expression":%q,"isFunction":true},"metadata":{}}`, strings.Repeat("x", 70)), true)
	reply := textFrame(strings.Repeat("y", 200), false)
	for name, change := range map[string]func(*Options){"guard=off": func(*Options) {}, "guard=on": guarded} {
		b.Run(name, func(b *testing.B) {
			r := newRigOf(b, change)
			client, server := r.open("s")
			in, out := make([]byte, len(call)), make([]byte, len(reply))
			before := cpu()
			b.ResetTimer()
			for range b.N {
				client.send(call)
				if _, err := io.ReadFull(server.in, in); err != nil {
					b.Fatal(err)
				}
				server.send(reply)
				if _, err := io.ReadFull(client.in, out); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-us/op")
			_ = client.Close()
			_ = server.Close()
			r.waitEnd()
		})
	}
}

// cpu is what this process has used, in microseconds.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return (u.Utime.Sec+u.Stime.Sec)*1e6 + u.Utime.Usec + u.Stime.Usec
}
