package standin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Options of a stand-in that is a process of its own.
type Options struct {
	Listen  string // address to listen at, or the path of a Unix socket
	Redis   string // URL; empty for a server that is no worker
	Workers int
	Slots   int    // of each worker
	Ready   string // what it prints when it serves
	Home    string // folder of the Playwright whose server it stands in for
}

// who names this server and the folder that it belongs to.
func (o Options) who() string { return o.Home + " " + o.Listen }

// Variable is the environment variable with the options, as JSON, that makes a
// test binary a stand-in.
const Variable = "PWDIST_TEST_STANDIN"

// Command serves as the environment asks for, until SIGTERM. It tells whether
// the environment asked for it at all.
func Command() (asked bool) {
	text := os.Getenv(Variable)
	if text == "" {
		return false
	}
	var o Options
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stand-in:", err)
		os.Exit(1)
	}
	return true
}

func (o Options) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	network := "tcp4"
	if o.Listen[0] == '/' {
		network = "unix"
	}
	// It stands for as many machines, whose probes would not all come at once.
	lc := net.ListenConfig{KeepAlive: -1}
	l, err := lc.Listen(ctx, network, o.Listen)
	if err != nil {
		return err
	}
	var g Gate
	if o.Redis != "" {
		port := l.Addr().(*net.TCPAddr).Port
		w, err := Join(ctx, o.Redis, o.Workers, o.Slots, port)
		if err != nil {
			return err
		}
		go w.Run(ctx)
		defer func() {
			late, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			w.Leave(late)
		}()
		g = w
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	if o.Home != "" {
		// Also when what started it was killed.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	fmt.Println(o.Ready)
	return listen(l, g, o.who())
}
