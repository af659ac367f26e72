module github.com/playwright-distributed/playwright-distributed/tests/integration

go 1.26.0

require (
	github.com/playwright-distributed/playwright-distributed/shared v0.0.0
	github.com/playwright-distributed/playwright-distributed/streams v0.0.0
	github.com/redis/rueidis v1.0.79
	github.com/stretchr/testify v1.12.1
)

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace github.com/playwright-distributed/playwright-distributed/shared => ../../shared

replace github.com/playwright-distributed/playwright-distributed/streams => ../../streams
