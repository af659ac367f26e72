package standin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// WritePlaywright writes a folder that a real worker takes for an installed
// Playwright, and in which its server is a stand-in: the program at the path,
// which has to call [Command]. The worker's own part is then measured, and not
// Chromium's.
func WritePlaywright(dir, program string) error {
	core := filepath.Join(dir, "node_modules", "playwright-core")
	if err := os.MkdirAll(core, 0o700); err != nil {
		return err
	}
	path, _ := json.Marshal(program)
	files := map[string]string{
		"package.json":  `{"name": "playwright-core", "version": "` + Version + `"}`,
		"browsers.json": `{"browsers": []}`,
		"cli.js":        fmt.Sprintf(cli, path, Variable),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(core, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cli starts the stand-in where the worker wants its Playwright server, and
// lives and dies with it.
const cli = `const { readFileSync } = require('fs');
const { spawn } = require('child_process');
const { port, wsPath } = JSON.parse(readFileSync(process.argv[process.argv.indexOf('--config') + 1]));
const options = JSON.stringify({ Listen: port, Ready: port + wsPath, Home: __dirname });
const server = spawn(%s, [], { stdio: ['pipe', 'inherit', 'inherit'], env: { ...process.env, %s: options } });
process.on('SIGTERM', () => server.kill('SIGTERM'));
server.on('exit', code => process.exit(code ?? 1));
`

// greeting is what a worker asks of its Playwright server before it serves, and
// answers are what it wants to hear.
const greeting = `"method":"initialize"`

var answers = []string{
	`{"guid":"","method":"__create__","params":{"type":"Browser","guid":"browser@1","initializer":{"version":"stand-in","name":"chromium"}}}`,
	`{"id":1,"result":{"playwright":{"guid":"Playwright"}}}`,
}
