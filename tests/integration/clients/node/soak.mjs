// Sessions of many kinds, as users have them on good days and bad ones. One JSON object as the argument:
//   {"calm": url, "rough": url, "doom": url}
// There is one session of every kind on calm, all of which must succeed, and of some kinds on rough, a worker whose browser
// is killed meanwhile, so that they may end early; but they do have to end. One session opens the page doom and waits for its
// end. The answer on stdout is {"sessions": n}, and the status is other than 0 when something went wrong.
//   {"victim": url}
// is a client that opens a page, starts things and does not end by itself: it prints "busy" and wants to be killed.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright';

const MiB = 1 << 20;
const work = await mkdtemp(join(tmpdir(), 'soak-'));

function check(ok, what) {
  if (!ok) throw new Error(what);
}

// A page in which a click downloads so many bytes.
const downloader = size => `<a id=get download=some.bin href="#">get</a><script>
  get.href = URL.createObjectURL(new Blob([new Uint8Array(${size})]))</script>`;

const kinds = {
  // Contexts with pages, cookies and storage; none sees another's.
  contexts: async browser => {
    for (const name of ['one', 'two', 'three']) {
      const context = await browser.newContext();
      await context.addCookies([{ name: 'who', value: name, url: 'http://shop.test/' }]);
      const page = await context.newPage();
      await page.goto('http://shop.test/');
      check(await page.title() === 'shop.test', 'another page');
      check(await page.evaluate(n => { localStorage.who ??= n; return localStorage.who + document.cookie; }, name) === `${name}who=${name}`, 'storage of another');
      check((await page.screenshot()).length > 1000, 'an empty picture');
    }
  },
  // Contexts and pages that are closed one by one, and popups.
  closing: async browser => {
    const context = await browser.newContext();
    const page = await context.newPage();
    for (let i = 0; i < 3; i++) {
      await page.goto(`http://site-${i}.test/`);
      const [popup] = await Promise.all([page.waitForEvent('popup'), page.evaluate(() => { window.open('http://other.test/'); })]);
      await popup.waitForLoadState();
      await popup.close();
    }
    await page.close();
    await context.close();
  },
  download: async browser => {
    const page = await browser.newPage();
    await page.setContent(downloader(2 * MiB));
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#get')]);
    const path = join(work, `${crypto.randomUUID()}.bin`);
    const gone = new Promise((_, no) => browser.on('disconnected', () => no(new Error('closed'))));
    await Promise.race([download.saveAs(path), gone]); // which waits for ever for the rest of a session that has ended
    check((await stat(path)).size === 2 * MiB, 'another size');
    await rm(path);
  },
  // Of this one nobody takes the file.
  forgotten: async browser => {
    const page = await browser.newPage();
    await page.setContent(downloader(2 * MiB));
    await Promise.all([page.waitForEvent('download'), page.click('#get')]);
  },
  upload: async browser => {
    const page = await browser.newPage();
    const path = join(work, `${crypto.randomUUID()}.bin`);
    await writeFile(path, Buffer.alloc(2 * MiB));
    await page.setContent('<input type=file>');
    await page.setInputFiles('input', path);
    check(await page.evaluate(async () => (await document.querySelector('input').files[0].arrayBuffer()).byteLength) === 2 * MiB, 'another size');
    await rm(path);
  },
  trace: async browser => {
    const context = await browser.newContext();
    await context.tracing.start({ screenshots: true, snapshots: true });
    const page = await context.newPage();
    await page.goto('http://shop.test/');
    const path = join(work, `${crypto.randomUUID()}.zip`);
    await context.tracing.stop({ path });
    check((await stat(path)).size > 0, 'an empty trace');
    await rm(path);
  },
  // Of this one nobody takes the trace.
  traceForgotten: async browser => {
    const context = await browser.newContext();
    await context.tracing.start({ screenshots: true, snapshots: true });
    await (await context.newPage()).goto('http://shop.test/');
  },
  pdf: async browser => {
    const page = await browser.newPage();
    await page.goto('http://shop.test/');
    check((await page.pdf()).length > 100, 'an empty document');
  },
  // A page that computes for ever when its session ends.
  busy: async browser => {
    const page = await browser.newPage();
    await page.goto('http://shop.test/');
    await page.evaluate(() => { setTimeout(() => { for (;;); }); });
  },
  memory: async browser => {
    const page = await browser.newPage();
    await page.evaluate(size => { globalThis.kept = new Uint8Array(size).fill(1); }, 32 * MiB);
  },
};

// A client that is killed in the middle.
async function killed(url) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify({ victim: url })], { stdio: ['ignore', 'pipe', 'inherit'] });
  const over = new Promise(resolve => child.on('exit', resolve));
  await Promise.race([new Promise(resolve => child.stdout.once('data', resolve)), over]);
  child.kill('SIGKILL');
  await over;
}

async function victim(url) {
  const browser = await chromium.connect(url);
  const page = await browser.newPage();
  await page.goto('http://shop.test/');
  await page.setContent(downloader(2 * MiB));
  await Promise.all([page.waitForEvent('download'), page.click('#get')]);
  page.evaluate(() => new Promise(() => {})).catch(() => {});
  process.stdout.write('busy\n');
  await new Promise(resolve => setInterval(resolve, 1 << 30));
}

// A session that lasts until its browser or its page dies by somebody else's hand.
async function doomed(url, address) {
  const browser = await chromium.connect(url);
  const page = await browser.newPage();
  const dead = new Promise(resolve => {
    browser.on('disconnected', resolve);
    page.on('crash', resolve);
  });
  page.goto(address).catch(() => {});
  await dead;
  await browser.close();
}

async function session(url, kind) {
  const browser = await chromium.connect(`${url}&name=${kind}`);
  try {
    await kinds[kind](browser);
  } finally {
    await browser.close();
  }
}

async function cycle({ calm, rough, doom }) {
  let sessions = 0;
  let wrong = 0;
  const run = async (what, mayFail, f) => {
    sessions++;
    await f().catch(error => {
      if (mayFail) return;
      wrong++;
      process.stderr.write(`${what}: ${error.stack}\n`);
    });
  };
  const each = async (url, names, mayFail) => {
    for (const name of names) await run(name, mayFail, () => session(url, name));
  };
  // Two at a time on the calm worker, and two beside the one that ends badly.
  const names = Object.keys(kinds);
  const half = names.length >> 1;
  await Promise.all([
    each(calm, names.slice(0, half), false),
    each(calm, names.slice(half), false),
    run('killed', false, () => killed(`${calm}&name=killed`)),
    run('doomed', true, () => doomed(`${rough}&name=doomed`, doom)),
    each(rough, ['download', 'upload', 'trace'], true),
    run('killed', false, () => killed(`${rough}&name=killed`)),
  ]);
  process.stdout.write(JSON.stringify({ sessions }) + '\n');
  return wrong;
}

// Playwright's stream of a download leaves the failure of a read to nobody when the session ends in the middle of it.
process.on('unhandledRejection', error => {
  if (error?.name?.startsWith('TargetClosedError') || /closed/.test(error?.message)) return;
  throw error;
});

const what = JSON.parse(process.argv[2]);
if (what.victim) await victim(what.victim);
const wrong = await cycle(what).finally(() => rm(work, { recursive: true, force: true }));
process.exit(wrong ? 1 : 0);
