module github.com/playwright-distributed/playwright-distributed/tests/integration

go 1.26

require (
	github.com/playwright-distributed/playwright-distributed/shared v0.0.0
	github.com/playwright-distributed/playwright-distributed/streams v0.0.0
)

replace github.com/playwright-distributed/playwright-distributed/shared => ../../shared

replace github.com/playwright-distributed/playwright-distributed/streams => ../../streams
