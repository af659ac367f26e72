// Loaded by Node before the Playwright server. Once that listens, an error that nobody catches, of a file that cannot be
// written or a message that lacks something, would end it and with it the sessions of all. Where it came from is
// said, and not what it says, which can be a client's.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const socket = fileURLToPath(new URL('pw.sock', import.meta.url)); // where the server listens, beside this file

process.on('uncaughtException', e => {
  if (!existsSync(socket)) {
    console.error(e);
    process.exit(1);
  }
  const from = String(e?.stack).split('\n').filter(line => line.startsWith('    at ')).slice(0, 3);
  console.error('the Playwright server goes on after an error that it did not expect', e?.code ?? e?.name, ...from);
});
