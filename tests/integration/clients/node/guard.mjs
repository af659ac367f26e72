// Sessions of stock Playwright clients through a guarded worker: `node guard.mjs <url> scenarios|attacks`. Scenarios do what
// ordinary scripts do; attacks try to leave the session while a victim's goes on beside it. One line of JSON on stdout
// for each: {name} or {name, error}.
import { chromium } from 'playwright';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { unzip } from './zip.mjs';

const [url, what] = process.argv.slice(2);
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'guard-'));
const file = (name, text) => { const f = path.join(dir, name); if (text !== undefined) fs.writeFileSync(f, text); return f; };
const expect = (got, want) => { if (got !== want) throw new Error(`got ${got}, want ${want}`); };
const say = line => process.stdout.write(JSON.stringify(line) + '\n');

const site = 'http://site.test/';
async function serveSite(context) {
  await context.route(site + '**', route => route.fulfill({ contentType: 'text/html', body: '<title>Site</title><h1>Hello</h1><a href="/next">next</a>' }));
}

const scenarios = {
  'a script as codegen writes it': async ({ context }) => {
    const page = await context.newPage();
    await page.goto(site);
    await page.getByRole('link', { name: 'next' }).click();
    await page.getByRole('heading', { name: 'Hello' }).click();
    expect(await page.title(), 'Site');
    await page.goBack();
    await page.reload();
    await page.setContent('<label>Name<input></label><select><option>a<option>b</select><input type=checkbox>');
    await page.getByLabel('Name').fill('me');
    await page.getByRole('combobox').selectOption('b');
    await page.getByRole('checkbox').check();
    await page.keyboard.press('Tab');
    await page.mouse.move(5, 5);
    expect(await page.getByLabel('Name').inputValue(), 'me');
    const handle = await page.$('input');
    expect(await (await handle.getProperty('value')).jsonValue(), 'me');
  },
  'two contexts': async ({ browser, context }) => {
    const other = await browser.newContext({ viewport: { width: 300, height: 200 }, locale: 'de-DE', recordHar: undefined });
    await context.addCookies([{ name: 'a', value: 'b', url: site }]);
    expect((await context.cookies()).length, 1);
    expect((await other.cookies()).length, 0);
    await other.close();
  },
  'download': async ({ context }) => {
    const page = await context.newPage();
    await page.setContent('<a download="x.txt" href="data:text/plain,downloaded">get</a>');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('a')]);
    await download.saveAs(file('x.txt'));
    expect(fs.readFileSync(file('x.txt'), 'utf8'), 'downloaded');
    const stream = await download.createReadStream();
    expect((await stream.toArray()).join(''), 'downloaded');
    expect(await download.failure(), null);
    await download.delete();
  },
  'upload': async ({ context }) => {
    const page = await context.newPage();
    await page.setContent('<input type=file multiple>');
    const read = () => page.evaluate(async () => (await Promise.all([...document.querySelector('input').files].map(f => f.text()))).join());
    await page.setInputFiles('input', { name: 'a', mimeType: 'text/plain', buffer: Buffer.from('from memory') });
    expect(await read(), 'from memory');
    await page.locator('input').setInputFiles(file('up.txt', 'from disk'));
    expect(await read(), 'from disk');
    await page.setInputFiles('input', { name: 'big', mimeType: 'text/plain', buffer: Buffer.alloc(3 << 20, 'x') });
    expect((await read()).length, 3 << 20);
    await page.setInputFiles('input', file('up50.bin', Buffer.alloc(51 << 20, 'y')));
    expect(await page.evaluate(() => document.querySelector('input').files[0].size), 51 << 20);
  },
  'tracing': async ({ context }) => {
    await context.tracing.start({ screenshots: true, snapshots: true, sources: true, name: 'my-trace' });
    const page = await context.newPage();
    await page.goto(site);
    await context.tracing.stop({ path: file('trace.zip') });
    if (fs.statSync(file('trace.zip')).size < 1000) throw new Error('the trace is empty');
  },
  'video': async ({ browser }) => {
    const context = await browser.newContext({ recordVideo: { dir: file('videos') } });
    const page = await context.newPage();
    await page.setContent('<h1>film</h1>');
    await page.screenshot();
    const video = page.video();
    await context.close();
    await video.saveAs(file('v.webm'));
    expect(fs.readFileSync(file('v.webm')).subarray(0, 4).toString('hex'), '1a45dfa3');
  },
  'har': async ({ browser }) => {
    const context = await browser.newContext({ recordHar: { path: file('a.har') } });
    await serveSite(context);
    const page = await context.newPage();
    await page.goto(site);
    await context.close();
    if (!fs.readFileSync(file('a.har'), 'utf8').includes('site.test')) throw new Error('nothing in the HAR');
    const replay = await browser.newContext();
    await replay.routeFromHAR(file('a.har'));
    const again = await replay.newPage();
    await again.goto(site);
    expect(await again.title(), 'Site');
    await replay.close();
  },
  'routing': async ({ context }) => {
    const page = await context.newPage();
    await page.route('**/api', route => route.fulfill({ json: { a: 1 } }));
    await page.route('**/blocked', route => route.abort());
    await page.route('**/rewritten', route => route.continue({ url: site + 'api', headers: { a: 'b' } }));
    await page.goto(site);
    expect((await page.evaluate(() => fetch('/api').then(r => r.json()))).a, 1);
    expect(await page.evaluate(() => fetch('/blocked').catch(() => 'no')), 'no');
    await page.unrouteAll();
  },
  'websocket routing': async ({ context }) => {
    const page = await context.newPage();
    await page.routeWebSocket('**', ws => ws.onMessage(m => ws.send('echo ' + m)));
    await page.goto(site);
    expect(await page.evaluate(() => new Promise(done => {
      const ws = new WebSocket('ws://site.test/ws');
      ws.onopen = () => ws.send('x');
      ws.onmessage = e => done(e.data);
    })), 'echo x');
  },
  'emulation': async ({ browser }) => {
    const context = await browser.newContext({
      userAgent: 'me', isMobile: true, hasTouch: true, colorScheme: 'dark', timezoneId: 'Asia/Tokyo', geolocation: { latitude: 1, longitude: 2 },
      permissions: ['geolocation'], extraHTTPHeaders: { a: 'b' }, httpCredentials: { username: 'a', password: 'b' }, baseURL: site,
    });
    await serveSite(context);
    const page = await context.newPage();
    await page.goto('/relative');
    expect(await page.evaluate('navigator.userAgent'), 'me');
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
    await page.setViewportSize({ width: 400, height: 300 });
    await context.setOffline(true);
    await context.setGeolocation({ latitude: 3, longitude: 4 });
    await page.tap('h1');
    await context.close();
  },
  'bindings and scripts': async ({ context }) => {
    const page = await context.newPage();
    await context.exposeBinding('there', ({ page: p }, x) => x + 1);
    await page.exposeFunction('here', x => x * 2);
    await page.addInitScript('window.early = 1');
    await page.goto(site);
    await page.addScriptTag({ content: 'window.late = 2' });
    await page.addStyleTag({ content: 'h1 { color: red }' });
    expect(await page.evaluate('there(1).then(x => here(x + early + late))'), 10);
  },
  'clock': async ({ context }) => {
    const page = await context.newPage();
    await page.clock.install({ time: new Date('2024-01-01') });
    await page.goto(site);
    await page.clock.fastForward('01:00:00');
    await page.clock.setFixedTime(new Date('2025-05-05T00:00:00Z'));
    expect(await page.evaluate('new Date().getUTCFullYear()'), 2025);
  },
  'requests': async ({ context }) => {
    const server = http.createServer((_, answer) => answer.end('answered')).listen(0, '127.0.0.1');
    await new Promise(done => server.once('listening', done));
    const r = await context.request.post(`http://127.0.0.1:${server.address().port}/`, { data: { a: 1 } }).catch(e => e);
    server.close();
    if (r instanceof Error) { if (r.message.includes('The pool refuses')) throw r; } else expect(await r.text(), 'answered');
  },
  'storage state': async ({ browser, context }) => {
    const page = await context.newPage();
    await page.goto(site);
    await page.evaluate(() => localStorage.setItem('a', 'b'));
    const state = await context.storageState({ indexedDB: true, path: file('state.json') });
    const other = await browser.newContext({ storageState: file('state.json') });
    await serveSite(other);
    const again = await other.newPage();
    await again.goto(site);
    expect(await again.evaluate(() => localStorage.getItem('a')), 'b');
    expect(state.origins.length, 1);
    await other.close();
  },
  'pictures, pdf, accessibility': async ({ context }) => {
    const page = await context.newPage();
    await page.setContent('<h1>Title</h1><p>text');
    await page.screenshot({ path: file('a.png'), fullPage: true });
    await page.locator('p').screenshot();
    if ((await page.pdf()).subarray(0, 4).toString() !== '%PDF') throw new Error('no pdf');
    if (!(await page.locator('body').ariaSnapshot()).includes('heading "Title"')) throw new Error('no snapshot');
  },
  'dialogs, frames, workers, console': async ({ context }) => {
    const page = await context.newPage();
    const texts = [];
    page.on('console', m => texts.push(m.text()));
    page.on('dialog', d => d.accept('said'));
    await page.setContent('<iframe srcdoc="<b>inside</b>"></iframe>');
    expect(await page.frameLocator('iframe').locator('b').textContent(), 'inside');
    expect(await page.evaluate(() => prompt('?')), 'said');
    const [worker] = await Promise.all([page.waitForEvent('worker'), page.evaluate(() => { new Worker(URL.createObjectURL(new Blob(['self.x = 7']))); })]);
    expect(await worker.evaluate('self.x'), 7);
    const [popup] = await Promise.all([page.waitForEvent('popup'), page.evaluate(() => { window.open('about:blank'); })]);
    await popup.close();
    await page.evaluate(() => console.log('logged'));
    await page.waitForFunction('1 + 1 == 2');
    expect(texts.join(), 'logged');
  },
  'coverage and CDP of a page': async ({ context }) => {
    const page = await context.newPage();
    await page.coverage.startJSCoverage();
    await page.goto(site);
    await page.coverage.stopJSCoverage();
    const cdp = await context.newCDPSession(page);
    await cdp.send('Emulation.setCPUThrottlingRate', { rate: 2 });
    await cdp.send('Performance.enable');
    if (!(await cdp.send('Performance.getMetrics')).metrics.length) throw new Error('no metrics');
    await cdp.detach();
  },
  'service worker': async ({ context }) => {
    await context.route('**/sw.js', route => route.fulfill({ contentType: 'text/javascript', body: 'self.here = 5' }));
    const page = await context.newPage();
    await page.route('https://site.test/**', route => route.fulfill({ contentType: 'text/html', body: 'x' }));
    await page.goto('https://site.test/');
    expect(typeof await page.evaluate(() => navigator.serviceWorker?.controller ?? null), 'object');
  },
  'waiting, aborting, closing': async ({ context }) => {
    const page = await context.newPage();
    await page.goto(site);
    await page.locator('#none').click({ timeout: 100 }).then(() => { throw new Error('clicked'); }, () => {});
    await page.evaluate(() => 'x'.repeat(2 << 20));
    await page.evaluate(text => text.length, 'x'.repeat(5 << 20));
    await page.close({ runBeforeUnload: false });
  },
};

// Each is a promise that must be refused.
const raw = (b, message) => b._connection.onmessage(message);
const attacks = {
  'Browser.newBrowserCDPSession': ({ browser }) => browser.newBrowserCDPSession(),
  'Browser.startTracing': ({ browser }) => browser.startTracing(),
  'Browser.stopTracing': ({ browser }) => browser.stopTracing(),
  'Browser.startServer': ({ browser }) => browser._channel.startServer({ title: 'mine', host: '127.0.0.1', port: 0 }),
  'Browser.newContextForReuse': ({ browser }) => browser._channel.newContextForReuse({}),
  'Browser.newContext baseURL': ({ browser }) => browser.newContext({ baseURL: 'file:///' }),
  'Browser.newContext proxy': ({ browser }) => browser.newContext({ proxy: { server: 'http://127.0.0.1:1' } }),
  'Browser.newContext origin': ({ browser }) => browser.newContext({ storageState: { cookies: [], origins: [{ origin: 'chrome://version', localStorage: [{ name: 'a', value: 'b' }] }] } }),
  'BrowserType.launch': ({ browser }) => [...browser._connection._objects.values()].find(o => o._type === 'BrowserType')._channel.launch({}),
  'BrowserContext.showRecorder': ({ context }) => context._channel.showRecorder({ outputFile: file('recorded') }),
  'BrowserContext.startRecording': ({ context }) => context._channel.startRecording({}),
  'file': ({ page }) => page.goto('file:///etc/passwd'),
  'FILE in disguise': ({ page }) => page.goto(' fi\nLE:///etc/passwd'),
  'view-source': ({ page }) => page.goto('view-source:file:///etc/passwd'),
  'chrome': ({ page }) => page.goto('chrome://version'),
  'localPaths': async ({ page }) => {
    await page.setContent('<input type=file>');
    await page.mainFrame()._channel.setInputFiles({ selector: 'input', localPaths: ['/etc/passwd'] });
  },
  'localDirectory': async ({ page }) => {
    await page.setContent('<input type=file webkitdirectory>');
    await (await page.$('input'))._channel.setInputFiles({ localDirectory: '/etc' });
  },
  // The folder above the one of an upload has the files of all sessions, and a page can be given a folder whole.
  'folder of all sessions': ({ context }) => context._channel.createTempFiles({ rootDirName: '..', items: [{ name: 'x' }] }),
  'file beside its folder': ({ context }) => context._channel.createTempFiles({ items: [{ name: '../x' }] }),
  // The server does not expect that such files cannot be written.
  'file with a long name': ({ context }) => context._channel.createTempFiles({ items: [{ name: 'x'.repeat(256) }] }),
  'file without a name': ({ context }) => context._channel.createTempFiles({ items: [{ name: '.' }] }),
  'drop': ({ page }) => page.mainFrame()._channel.drop({ selector: 'body', localPaths: ['/etc/passwd'] }),
  'Artifact.saveAs': async ({ page }) => {
    await page.setContent('<a download="x.txt" href="data:text/plain,downloaded">get</a>');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('a')]);
    await download._artifact._channel.saveAs({ path: file('stolen') });
  },
  'Artifact.pathAfterFinished': async ({ page }) => {
    await page.setContent('<a download="x.txt" href="data:text/plain,downloaded">get</a>');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('a')]);
    await download._artifact._channel.pathAfterFinished();
  },
  ...Object.fromEntries(Object.entries({
    'Target.getTargets': {}, 'Target.setDiscoverTargets': { discover: true }, 'Target.attachToBrowserTarget': {}, 'Target.createTarget': { url: 'about:blank' },
    'Target.exposeDevToolsProtocol': { targetId: 'x' }, 'Target.setAutoAttach': { autoAttach: true, waitForDebuggerOnStart: false, flatten: true },
    'Target.sendMessageToTarget': { message: '{}' }, 'Browser.getVersion': {}, 'Browser.setDownloadBehavior': { behavior: 'deny' },
    'Storage.getCookies': {}, 'SystemInfo.getProcessInfo': {}, 'Tracing.getCategories': {}, 'IO.read': { handle: 'x' }, 'Page.navigate': { url: 'file:///etc/passwd' },
    'DOM.setFileInputFiles': { files: ['/etc/passwd'] }, 'Page.setDownloadBehavior': { behavior: 'allow', downloadPath: '/tmp' },
    'Network.loadNetworkResource': { url: 'file:///etc/passwd', options: { disableCache: true, includeCredentials: false } }, 'Fetch.enable': {}, 'Memory.getBrowserSamplingProfile': {},
  }).map(([method, params]) => ['CDP ' + method, async ({ context, page }) => (await context.newCDPSession(page)).send(method, params)])),
  // Pages and pictures that take gigabytes, or more than the browser can draw.
  'viewport': ({ browser }) => browser.newContext({ viewport: { width: 20000, height: 20000 } }),
  'viewport of a page': ({ page }) => page.setViewportSize({ width: 20000, height: 20000 }),
  'many pixels': ({ page }) => page.setViewportSize({ width: 10000, height: 10000 }),
  'scale': ({ browser }) => browser.newContext({ deviceScaleFactor: 100 }),
  'viewport after the scale': async ({ browser }) => {
    const context = await browser.newContext({ deviceScaleFactor: 16, viewport: { width: 300, height: 200 } });
    const page = await context.newPage();
    await page.setViewportSize({ width: 1600, height: 1600 }).finally(() => context.close());
  },
  'screencast': ({ page }) => page.screencast.start({ onFrame: () => {}, size: { width: 20000, height: 20000 } }),
  // More than Chromium takes in one message, at which it ends.
  'large answer': async ({ page }) => {
    let why;
    await page.route('**', route => route.fulfill({ body: 'x'.repeat(80 << 20) }).catch(e => { why = e; return route.abort(); }));
    await page.evaluate(() => fetch('http://site.test/').catch(() => {}));
    if (why) throw why;
  },
  'large storage': ({ browser }) => browser.newContext({ storageState: { cookies: [], origins: [{ origin: 'http://site.test', localStorage: [{ name: 'a', value: '"'.repeat(30 << 20) }] }] } }),
  'large headers': ({ context }) => context.setExtraHTTPHeaders({ b: 'x'.repeat(25 << 20) }),
  'large binding': ({ page }) => page.exposeBinding('"'.repeat(13 << 20), () => {}),
  // The server makes the events of all clicks at once, and has no time for anybody else until then.
  'clicks': ({ page }) => page.mouse.click(5, 5, { clickCount: 1e9 }),
  'clicks of a locator': ({ page }) => page.locator('body').click({ clickCount: 1e9 }),
  'clicks of a handle': async ({ page }) => (await page.$('body')).click({ clickCount: 1e9 }),
  'size by CDP': async ({ context, page }) => (await context.newCDPSession(page)).send('Emulation.setDeviceMetricsOverride', { width: 20000, height: 20000, deviceScaleFactor: 1, mobile: false }),
  'picture by CDP': async ({ context, page }) => (await context.newCDPSession(page)).send('Page.captureScreenshot', { captureBeyondViewport: true, clip: { x: 0, y: 0, width: 30000, height: 30000, scale: 1 } }),
  'scale of a picture by CDP': async ({ context, page }) => (await context.newCDPSession(page)).send('Page.captureScreenshot', { clip: { x: 0, y: 0, width: 1280, height: 720, scale: 16 } }),
  'screencast by CDP': async ({ context, page }) => (await context.newCDPSession(page)).send('Page.startScreencast', { maxWidth: 20000, maxHeight: 20000 }),
  // These end every session of the browser where nothing stops them.
  'crash by URL': ({ page }) => page.goto('chrome://inducebrowsercrashforrealz'),
  'crash by about': ({ page }) => page.goto('about:inducebrowsercrashforrealz'),
  'CDP Browser.close': async ({ context, page }) => (await context.newCDPSession(page)).send('Browser.close'),
  'CDP Browser.crash': async ({ context, page }) => (await context.newCDPSession(page)).send('Browser.crash'),
};

async function main() {
  if (what === 'scenarios') {
    const browser = await chromium.connect(url);
    for (const [name, run] of Object.entries(scenarios)) {
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      try {
        await serveSite(context);
        await run({ browser, context });
        say({ name });
      } catch (e) {
        say({ name, error: e.stack });
      }
      await context.close().catch(() => {});
    }
    await browser.close();
    return;
  }
  const victim = await chromium.connect(url), browser = await chromium.connect(url);
  const victims = await victim.newContext();
  const theirs = await victims.newPage();
  await victims.tracing.start({ name: 'victims-trace' });
  await theirs.setContent('<title>secret of the victim</title>');
  for (const [name, run] of Object.entries(attacks)) {
    try {
      const context = await browser.newContext();
      const page = await context.newPage();
      let refused;
      await run({ browser, context, page }).catch(e => { refused = e.message; });
      if (!refused?.includes('The pool refuses')) throw new Error('not refused: ' + refused);
      expect(await page.evaluate('6 * 7'), 42); // the session goes on
      await context.close();
      expect(await theirs.title(), 'secret of the victim');
      say({ name });
    } catch (e) {
      say({ name, error: e.message });
    }
  }
  // Runners name traces after tests, so many sessions have the same names.
  for (const name of ['same', '../../same', '']) {
    const another = await chromium.connect(url);
    const traced = await another.newContext();
    await traced.tracing.start({ name, snapshots: true });
    await (await traced.newPage()).setContent('<title>traced by the victim</title>');
    for (const when of ['while it is traced', 'when its session is over']) {
      try {
        if (when === 'when its session is over') await another.close();
        const context = await browser.newContext();
        await context.tracing.start({ name, snapshots: true });
        const page = await context.newPage();
        await page.setContent('<title>my own</title>');
        await context.tracing.stop({ path: file('same.zip') });
        const got = Object.values(unzip(file('same.zip'))).map(b => b.toString()).join();
        if (!got.includes('my own')) throw new Error('the trace is not of its own page');
        if (got.includes('traced by the victim')) throw new Error('the trace has what another session did');
        await context.close();
        say({ name: `trace called "${name}" as another one, ${when}` });
      } catch (e) {
        say({ name: `trace called "${name}" as another one, ${when}`, error: e.message });
      }
    }
  }
  // The browser runs already: options for its start are nobody's, and some spellings are an error that the server does not expect.
  for (const options of ['null', '[[', '{"args":["--remote-debugging-port=0"],"channel":"chrome"}']) {
    const name = 'launch options ' + options;
    try {
      const another = await chromium.connect(url, { headers: { 'x-playwright-launch-options': options }, timeout: 20_000 });
      expect(await (await another.newPage()).evaluate('6 * 7'), 42);
      await another.close();
      expect(await theirs.title(), 'secret of the victim');
      say({ name });
    } catch (e) {
      say({ name, error: e.message });
    }
  }
  // The server writes none of what it makes where a client says: official clients name their own paths.
  try {
    const context = await browser.newContext(), page = await context.newPage();
    const { harId } = await context.tracing._channel.harStart({ page: page._channel, options: { harPath: file('written.har'), resourcesDir: file('written'), content: 'attach' } });
    await serveSite(context);
    await page.goto(site);
    await context.tracing._channel.harExport({ harId, mode: 'entries' });
    const filming = await browser._channel.newContext({ recordVideo: { dir: file('written-videos') } });
    await filming.context.newPage();
    await filming.context.close({});
    await context.close();
    expect(fs.readdirSync(dir).filter(f => f.startsWith('written')).join(), '');
    say({ name: 'paths of recordings' });
  } catch (e) {
    say({ name: 'paths of recordings', error: e.message });
  }
  // A message that can be read in two ways ends the session that sent it, and no other.
  const gone = new Promise(done => browser.on('disconnected', done));
  raw(browser, { guid: '', params: {}, id: 99999, method: 'initialize' });
  await gone;
  expect(await theirs.title(), 'secret of the victim');
  say({ name: 'ambiguous message' });
  await victim.close();
}

await main().catch(e => say({ name: what, error: e.stack }));
fs.rmSync(dir, { recursive: true });
say({ name: 'end' });
process.exit(0);
