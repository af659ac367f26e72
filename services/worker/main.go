// Command pwdist-worker runs one browser for a pool and serves its sessions.
package main

import (
	"os"

	"github.com/playwright-distributed/playwright-distributed/services/worker/internal/app"
)

func main() { os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }
