//go:build !linux

package cli

import "os"

// whenReaderGone is for Linux only; elsewhere the next write tells.
func whenReaderGone(*os.File, func()) {}
