module github.com/playwright-distributed/playwright-distributed/shared

go 1.26

require github.com/playwright-distributed/playwright-distributed/streams v0.0.0

replace github.com/playwright-distributed/playwright-distributed/streams => ../streams
