package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/playwright-distributed/playwright-distributed/streams/event"
	"github.com/playwright-distributed/playwright-distributed/streams/internal/redistest"
)

const goldens = "../../../../event/testdata"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pwdist-events": func() { os.Exit(Main(os.Args[1:])) },
	})
}

type ctxKey string

// TestScripts runs testdata/*.txtar, each with a Redis of its own. Beside the
// usual commands there are:
//
//	put NAME...      add the golden events of these names
//	xadd ID F V...   add any entry
//	trim N           keep N entries
//	blocked          wait until somebody waits for events
//	acl USER PW      add a user who may read
//	stopredis, startredis
func TestScripts(t *testing.T) {
	goldens, err := filepath.Abs(goldens)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			s := redistest.Start(env.T().(testing.TB))
			env.Values[ctxKey("redis")] = s
			client := s.Client()
			env.Values[ctxKey("client")] = &client
			env.Values[ctxKey("entries")] = new(int)
			env.Setenv("REDIS_URL", s.URL())
			env.Setenv("ADDR", s.Addr)
			env.Setenv("TZ", "UTC")
			env.Setenv("TERM", "xterm")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"put": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					data, err := os.ReadFile(filepath.Join(goldens, name+".fields"))
					ts.Check(err)
					var fields []string
					for line := range strings.Lines(string(data)) {
						field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
						fields = append(fields, field, value)
					}
					n := ts.Value(ctxKey("entries")).(*int)
					*n++
					redis(ts, append([]string{"XADD", event.Key("default"), fmt.Sprintf("1789000000000-%d", *n)}, fields...)...)
				}
			},
			"xadd": func(ts *testscript.TestScript, _ bool, args []string) {
				redis(ts, append([]string{"XADD", event.Key("default")}, args...)...)
			},
			"trim": func(ts *testscript.TestScript, _ bool, args []string) {
				redis(ts, "XTRIM", event.Key("default"), "MAXLEN", "=", args[0])
			},
			"acl": func(ts *testscript.TestScript, _ bool, args []string) {
				redis(ts, "ACL", "SETUSER", args[0], "on", ">"+args[1], "~*", "+@read")
			},
			"blocked": func(ts *testscript.TestScript, _ bool, _ []string) {
				for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
					info, err := redis(ts, "INFO", "clients").ToString()
					ts.Check(err)
					if strings.Contains(info, "blocked_clients:1\r\n") {
						return
					}
					if time.Now().After(deadline) {
						ts.Fatalf("nobody waits for events")
					}
				}
			},
			"stopredis": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Value(ctxKey("redis")).(*redistest.Server).Stop()
			},
			"startredis": func(ts *testscript.TestScript, _ bool, _ []string) {
				s := ts.Value(ctxKey("redis")).(*redistest.Server)
				s.Start()
				*ts.Value(ctxKey("client")).(*rueidis.Client) = s.Client()
			},
		},
	})
}

func redis(ts *testscript.TestScript, args ...string) rueidis.RedisResult {
	c := *ts.Value(ctxKey("client")).(*rueidis.Client)
	r := c.Do(context.Background(), c.B().Arbitrary(args...).Build())
	if err := r.Error(); err != nil {
		ts.Fatalf("%v", fmt.Errorf("%v: %w", args, err))
	}
	return r
}
