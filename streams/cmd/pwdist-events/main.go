// Command pwdist-events shows the event log of a browser pool.
package main

import (
	"os"

	"github.com/playwright-distributed/playwright-distributed/streams/cmd/pwdist-events/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:]))
}
