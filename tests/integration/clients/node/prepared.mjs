// What clients find where a page was prepared for them: prepared.mjs URL METRICS. Each case comes when the one worker, whose
// metrics are read at METRICS, has a context and a page ready for a usual session, and goes on in its own way. For each a
// line says what has become of those.
import assert from 'node:assert';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright';
import { unzip } from './zip.mjs';

const [url, metrics] = process.argv.slice(2);
const dir = mkdtempSync(join(tmpdir(), 'prepared-'));
const html = 'data:text/html,<title>here</title>';

async function metric(name) {
  const line = (await (await fetch(metrics)).text()).split('\n').find(l => l.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}
const count = outcome => metric(`pwdist_worker_prepared_total{outcome="${outcome}"}`);

async function usual(browser) {
  const page = await (await browser.newContext()).newPage();
  assert.strictEqual(page.url(), 'about:blank');
  await page.setContent('<title>usual</title>');
  assert.strictEqual(await page.title(), 'usual');
  assert.strictEqual(browser.contexts().length, 1);
  assert.strictEqual(page.context().pages().length, 1);
}

const cases = {
  usual,
  async 'the same by one call'(browser) {
    const page = await browser.newPage();
    await page.goto(html);
    assert.strictEqual(await page.title(), 'here');
  },
  async 'events'(browser) {
    const context = await browser.newContext();
    const seen = [];
    context.on('page', page => seen.push(page));
    const page = await context.newPage();
    assert.deepStrictEqual(seen, [page]);
    const [popup] = await Promise.all([context.waitForEvent('page'), page.evaluate(() => { window.open('about:blank'); })]);
    assert.deepStrictEqual(context.pages(), [page, popup]);
  },
  async 'a page that is idle'(browser) {
    const page = await browser.newPage();
    await page.waitForLoadState('networkidle');
    await page.goto(html, { waitUntil: 'networkidle' });
  },
  async 'a client that takes its time'(browser) {
    await pause(700); // until after the page has said that its network is idle
    const page = await browser.newPage();
    await page.waitForLoadState('networkidle');
  },
  async 'trace'(browser) {
    const context = await browser.newContext();
    await context.tracing.start({ screenshots: true, snapshots: true });
    const page = await context.newPage();
    await page.goto(html);
    await page.waitForTimeout(100);
    await context.tracing.stop({ path: join(dir, 'trace.zip') });
    const events = unzip(join(dir, 'trace.zip'))['trace.trace'].toString().trim().split('\n').map(line => JSON.parse(line));
    const pages = new Set(events.flatMap(e => [e.pageId, e.snapshot?.pageId, e.params?.pageId]).filter(Boolean));
    assert.strictEqual(pages.size, 1, 'the trace has one page');
  },
  async 'HAR'(browser) {
    const path = join(dir, 'a.har');
    const context = await browser.newContext({ recordHar: { path } });
    await (await context.newPage()).goto(html);
    await context.close();
    assert.strictEqual(JSON.parse(readFileSync(path)).log.pages.length, 1);
  },
  async 'what is set before the page'(browser) {
    const context = await browser.newContext();
    await context.addInitScript(() => { globalThis.early = 1; });
    await context.exposeBinding('answer', () => 42);
    await context.addCookies([{ name: 'a', value: 'b', url: 'http://example.com' }]);
    await context.route('**/*', route => route.fulfill({ body: document => document, contentType: 'text/html' }));
    await context.unroute('**/*');
    const page = await context.newPage();
    await page.goto(html);
    assert.deepStrictEqual(await page.evaluate(async () => [globalThis.early, await globalThis.answer()]), [1, 42]);
  },
  async 'other options'(browser) {
    const german = await (await browser.newContext({ locale: 'de-DE' })).newPage();
    assert.strictEqual(await german.evaluate(() => navigator.language), 'de-DE');
    const page = await (await browser.newContext()).newPage();
    assert.notStrictEqual(await page.evaluate(() => navigator.language), 'de-DE');
    assert.strictEqual(browser.contexts().length, 2);
  },
  async 'a context without a page'(browser) {
    const context = await browser.newContext();
    assert.deepStrictEqual(context.pages(), []);
    await context.close();
    assert.deepStrictEqual(browser.contexts(), []);
  },
};

async function session(what) {
  const browser = await chromium.connect(url);
  try {
    await what(browser);
  } finally {
    await browser.close();
  }
}

// Usual sessions until something is ready.
async function prepared() {
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    await session(usual);
    for (let i = 0; i < 30; i++) {
      if (await metric('pwdist_worker_prepared') === 1) return;
      await pause(20);
    }
  }
  throw new Error('nothing is prepared');
}

for (const name in cases) {
  await prepared();
  await session(usual); // uses it, so that not more is opened in vain than used
  await prepared();
  const used = await count('used'), unused = await count('unused');
  await session(cases[name]);
  console.log(JSON.stringify({ name, used: await count('used') - used, unused: await count('unused') - unused }));
}
