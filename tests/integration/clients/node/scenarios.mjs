// What ordinary scripts do, each told as a value that is the same wherever the browser runs: `node scenarios.mjs <url> [name]`.
// One line of JSON on stdout for each: {name, value} or {name, error}. Whoever compares two browsers runs it with each.
import { chromium } from 'playwright';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { serve } from './scenarios/site.mjs';
import contexts from './scenarios/contexts.mjs';
import files from './scenarios/files.mjs';
import limits from './scenarios/limits.mjs';
import network from './scenarios/network.mjs';
import pages from './scenarios/pages.mjs';
import records from './scenarios/records.mjs';
import views from './scenarios/views.mjs';

const [url, only] = process.argv.slice(2);
const all = { ...contexts, ...files, ...limits, ...network, ...pages, ...records, ...views };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'scenarios-'));
const site = await serve();
const browser = await chromium.connect(url);

// What differs between two runs of the same script: ports, folders, colours, and the log of a call, which has timings.
function normal(text) {
  return String(text).replaceAll(/\x1b\[[0-9;]*m/g, '').replaceAll(dir, 'DIR').replaceAll(site.url, 'SITE').replaceAll(site.host, 'HOST')
    .replaceAll(url, 'ENDPOINT').replace(/\nCall log:[^]*/, '');
}

async function run(name) {
  const scratch = path.join(dir, name.replaceAll(' ', '-'));
  fs.mkdirSync(scratch);
  const file = (base, content) => {
    const f = path.join(scratch, base);
    if (content !== undefined) {
      fs.mkdirSync(path.dirname(f), { recursive: true });
      fs.writeFileSync(f, content);
    }
    return f;
  };
  let context;
  const line = { name };
  try {
    context = await browser.newContext();
    context.setDefaultTimeout(20_000);
    // The message of what must fail, in a form that can be compared.
    const failure = promise => promise.then(() => 'no error', error => normal(error.message));
    const value = await all[name]({ browser, context, file, site, url, failure, page: () => context.newPage() });
    if (value === undefined) throw new Error('the scenario tells nothing');
    line.value = JSON.parse(normal(JSON.stringify(value)));
  } catch (error) {
    line.error = normal(error.stack);
  }
  await context?.close().catch(() => {});
  process.stdout.write(JSON.stringify(line) + '\n');
}

// A few at once, as a test runner has it.
const names = Object.keys(all).filter(name => !only || name.includes(only));
await Promise.all(Array.from({ length: 3 }, async () => { while (names.length) await run(names.shift()); }));
await browser.close();
await site.close();
fs.rmSync(dir, { recursive: true });
process.stdout.write('{"name": "end"}\n');
process.exit(0);
