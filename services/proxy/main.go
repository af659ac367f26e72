// Command pwdist-proxy is the public endpoint of a pool: it takes Playwright
// clients and connects each to a worker.
package main

import (
	"os"

	"github.com/playwright-distributed/playwright-distributed/services/proxy/internal/app"
)

func main() { os.Exit(app.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }
