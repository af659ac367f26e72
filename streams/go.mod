module github.com/playwright-distributed/playwright-distributed/streams

go 1.26
