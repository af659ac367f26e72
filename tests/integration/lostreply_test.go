package integration_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/tests/integration/harness"
)

// forgetful stands between the programs and their Redis and loses replies: of
// each call of a script it lets the request through, waits until Redis has run
// it, and resets the connection instead of answering. The same call made
// again is answered.
type forgetful struct {
	listener net.Listener
	redis    string

	mu    sync.Mutex
	all   sync.WaitGroup
	calls map[string]bool // those that were not answered, and whether they were made again
	lost  map[string]int  // how many calls of a script ran and were not answered
	again map[string]int  // how many of these were made again
}

// most is how many calls of one script are not answered: a heartbeat that is
// repeated makes the worker send another one at once.
const most = 10

func startForgetful(t *testing.T, redis string) *forgetful {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &forgetful{
		listener: l, redis: redis,
		calls: map[string]bool{}, lost: map[string]int{}, again: map[string]int{},
	}
	f.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.all.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close() })
	return f
}

func (f *forgetful) url() string { return "redis://" + f.listener.Addr().String() + "/0" }

func (f *forgetful) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", f.redis)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	to, ok := server.(*net.TCPConn)
	if !ok {
		return
	}
	var cut sync.Once // from then on what Redis says is lost
	forgetting, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _ = client.Close() }()
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if err != nil {
				return
			}
			select {
			case <-forgetting:
				continue
			default:
			}
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	in := bufio.NewReader(client)
	for {
		raw, args, err := command(in)
		if err != nil {
			return
		}
		lose := f.loses(args)
		if lose {
			cut.Do(func() { close(forgetting) })
		}
		if _, err := server.Write(raw); err != nil {
			return
		}
		if lose {
			// Redis runs what has come before it takes notice of the end, and closes then.
			_ = to.CloseWrite()
			<-ended
			return
		}
	}
}

// loses tells whether the reply to a command is to be lost.
func (f *forgetful) loses(args [][]byte) bool {
	if len(args) < 3 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.ToUpper(string(args[0])) != "FCALL" {
		return false
	}
	// The name of a function is that of its library with that of the script behind it.
	parts := strings.SplitN(string(args[1]), "_", 3)
	return f.lose(parts[len(parts)-1], args[2:])
}

func (f *forgetful) lose(name string, args [][]byte) bool {
	call := name + "\x00" + string(bytes.Join(args, []byte{0}))
	repeated, known := f.calls[call]
	if known && !repeated {
		f.again[name]++
	}
	if known || f.lost[name] == most {
		f.calls[call] = true
		return false
	}
	f.calls[call] = false
	f.lost[name]++
	return true
}

func (f *forgetful) repeated() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.again)
}

// A pool in which the reply to nearly every call of a script is lost, so that
// each is made twice: join and leave, assigned and queued and cancelled and
// moved sessions, their starts and ends. Every fact is in the log once, and
// under the id that says what it is.
func TestNoFactIsToldTwiceWhenRepliesAreLost(t *testing.T) {
	p := harness.NewEmpty(t, harness.Options{Proxy: harness.Settings{"queue.wait": "2m"}, Worker: harness.Settings{"slots": "1"}})
	harness.NeedBrowser(t)
	f := startForgetful(t, p.Redis.Address)
	through := harness.Settings{"redis.url": f.url()}
	p.AddProxy(t, through).AwaitReady(t)
	w := p.AddWorker(t, through)
	w.AwaitReady(t)

	holder := harness.Connect(t, p.URL("name=holder"))
	hasty := harness.Upgrade(t, p.Proxy().Address, "/?name=hasty", "1.65.1", nil)
	p.Log.AwaitSession(t, "hasty", event.SessionQueued)
	next := make(chan error, 1)
	go func() {
		_, err := harness.Visit(t, p.URL("name=next"), "http://example.com/")
		next <- err
	}()
	p.Log.AwaitSession(t, "next", event.SessionQueued)
	require.NoError(t, hasty.Close())
	p.Log.AwaitSession(t, "hasty", event.SessionRejected)
	require.NoError(t, holder.Close())
	require.NoError(t, <-next)
	p.Log.AwaitSession(t, "next", event.SessionEnded)

	// The worker is taken, so the next goes to one that does not answer, and from there to the queue.
	holder = harness.Connect(t, p.URL("name=second-holder"))
	p.JoinStandIn(t, standIn("1.65.1"))
	moved := harness.Upgrade(t, p.Proxy().Address, "/?name=moved", "1.65.1", nil)
	p.Log.AwaitSession(t, "moved", event.SessionQueued)
	require.NoError(t, holder.Close())
	require.Equal(t, http.StatusSwitchingProtocols, moved.Answer(t).Status)
	require.NoError(t, moved.Close())
	p.Log.AwaitSession(t, "moved", event.SessionEnded)
	harness.Await(t, "heartbeats are sent twice", func() bool {
		return f.repeated()["heartbeat"] > 0 && f.repeated()["proxy_heartbeat"] > 0
	})
	w.Process().Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Process().ExitCode(t, harness.Patience))
	p.LeaveStandIns(t)
	p.Proxy().Process().Signal(t, syscall.SIGTERM)
	require.Zero(t, p.Proxy().Process().ExitCode(t, harness.Patience), "while it still has its way to Redis")

	for _, script := range []string{"join", "acquire", "start", "finish", "cancel", "reassign", "heartbeat", "retire", "leave", "proxy_heartbeat"} {
		require.Positive(t, f.repeated()[script], "no call of %s was made twice: %v", script, f.repeated())
	}
	ids, facts := map[string]bool{}, map[string]int{}
	for _, e := range p.Log.All() {
		require.False(t, ids[e.ID], "%s is told twice", e.ID)
		ids[e.ID] = true
		if e.Session == nil {
			continue
		}
		require.Equal(t, fmt.Sprintf("%s:%s:%d", e.Session.ID, e.Type, e.Session.Attempt), e.ID)
		facts[e.Session.Name+" "+strings.TrimPrefix(string(e.Type), "session.")]++
	}
	require.Equal(t, map[string]int{
		"holder assigned": 1, "holder started": 1, "holder ended": 1,
		"hasty queued": 1, "hasty rejected": 1,
		"next queued": 1, "next assigned": 1, "next started": 1, "next ended": 1,
		"second-holder assigned": 1, "second-holder started": 1, "second-holder ended": 1,
		"moved assigned": 2, "moved queued": 1, "moved started": 1, "moved ended": 1,
	}, facts)
}

// command reads one command as a client sends it.
func command(in *bufio.Reader) (raw []byte, args [][]byte, err error) {
	line := func(kind byte) (int, error) {
		text, err := in.ReadBytes('\n')
		raw = append(raw, text...)
		if err == nil && (len(text) < 4 || text[0] != kind) {
			err = fmt.Errorf("%q is no command", text)
		}
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(string(text[1 : len(text)-2]))
	}
	n, err := line('*')
	for ; err == nil && n > 0; n-- {
		var size int
		if size, err = line('$'); err != nil {
			break
		}
		arg := make([]byte, size+2)
		if _, err = io.ReadFull(in, arg); err == nil {
			raw, args = append(raw, arg...), append(args, arg[:size])
		}
	}
	return raw, args, err
}
