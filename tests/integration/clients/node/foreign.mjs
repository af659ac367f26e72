// Calls on another session's objects: `node foreign.mjs <url> <protocol.txt>`. The attacker knows the guid of each object of
// a victim and calls every allowed method of its type on it, and names it wherever a parameter is an object. One line of
// JSON on stdout for each type: {name} or {name, error}.
import { chromium } from 'playwright';
import fs from 'node:fs';

const [url, protocol] = process.argv.slice(2);
const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const secret = 'secret-of-the-victim';

// Type → its allowed methods.
const allowed = {};
for (const line of fs.readFileSync(protocol, 'utf8').split('\n')) {
  const [, type, method] = /^(\w+)\.(\w+) \w+ allow$/.exec(line) ?? [];
  if (type) (allowed[type] ??= []).push(method);
}

const victim = await chromium.connect(url), browser = await chromium.connect(url);

// The victim has an object of every type that it can have.
const objects = {};
const connection = victim._connection ?? victim._channel._connection;
const note = o => { if (o?._guid !== undefined) (objects[o._type] ??= new Map()).set(o._guid, o); };
const collect = () => { for (const o of connection._objects.values()) note(o); };
const context = await victim.newContext(), page = await context.newPage();
await context.route('http://site.test/**', route => { note(route); note(route.request()); collect(); return route.fulfill({ contentType: 'text/html', body: `<title>${secret}</title><a download=x href="data:text/plain,${secret}">get</a><input type=file>` }); });
let meets;
const met = new Promise(done => { meets = done; });
await page.routeWebSocket('**', ws => { collect(); meets(); });
await page.exposeBinding('bound', () => { collect(); return 1; }, { handle: false });
await page.goto('http://site.test/');
await context.tracing.start({ name: 'victims' });
const handle = await page.$('a'), value = await page.evaluateHandle(`({ text: '${secret}' })`);
const [download] = await Promise.all([page.waitForEvent('download'), page.click('a')]);
await download.failure();
const stream = (await download._artifact._channel.stream()).stream;
const { writableStreams } = await context._channel.createTempFiles({ items: [{ name: 'x' }] });
const cdp = await context.newCDPSession(page);
const working = page.waitForEvent('worker');
await page.evaluate(() => { new Worker(URL.createObjectURL(new Blob(['self.x = 7']))); new WebSocket('ws://site.test/'); return globalThis.bound(); });
await Promise.all([working, met]);
const dialogs = new Promise(done => page.once('dialog', done));
const asking = page.evaluate(() => { setTimeout(() => alert('x')); });
const dialog = await dialogs;
await asking;
for (const o of [handle, value, stream, writableStreams[0], cdp, dialog]) note(o._object ?? o);
collect();

// Messages go out as they are made here; what the client library thinks of the answers is of no interest.
const mine = browser._connection;
const own = await (await browser.newContext()).newPage();
await own.setContent('<input type=file>');
const answers = new Map();
const dispatch = mine.dispatch.bind(mine);
mine.dispatch = message => { const done = answers.get(message.id); if (done) { answers.delete(message.id); done(message); } else dispatch(message); };
let last = 1_000_000;
const call = (guid, method, params) => new Promise(done => { const id = ++last; answers.set(id, done); mine.onmessage({ id, guid, method, params, metadata: { internal: false } }); });
const failed = answer => answer.error?.error?.message ?? answer.error?.message ?? JSON.stringify(answer.error);

// The server's only browser has one guid for all, behind which each connection has an object of its own.
delete allowed.Browser;
for (const [type, methods] of Object.entries(allowed)) {
  const guids = [...objects[type]?.keys() ?? []].filter(g => g.includes('@'));
  const wrong = [];
  for (const guid of guids) {
    for (const method of methods) {
      const answer = await call(guid, method, {});
      if (!/Target .*closed|Object .* not found|Cannot find|not bound/i.test(failed(answer) ?? '')) wrong.push(`${method}: ${JSON.stringify(answer).slice(0, 300)}`);
      if (JSON.stringify(answer).includes(secret)) wrong.push(`${method} tells the secret`);
    }
  }
  if (guids.length) say({ name: `${type}, ${guids.length} of the victim`, error: wrong.join('\n') || undefined });
}

// The victim's objects as parameters of calls on the attacker's own.
const guidOf = type => ({ guid: [...objects[type].keys()][0] });
const frame = own.mainFrame();
for (const [guid, method, params] of [
  [own.context()._guid, 'newCDPSession', { page: guidOf('Page') }],
  [own.context()._guid, 'newCDPSession', { frame: guidOf('Frame') }],
  [frame._guid, 'evaluateExpression', { expression: 'x => x.outerHTML', isFunction: true, arg: { value: { h: 0 }, handles: [guidOf('JSHandle')] } }],
  [frame._guid, 'evaluateExpression', { expression: 'x => x.outerHTML', isFunction: true, arg: { value: { h: 0 }, handles: [guidOf('ElementHandle')] } }],
  [frame._guid, 'setInputFiles', { selector: 'input', directoryStream: guidOf('WritableStream'), timeout: 1000 }],
  [frame._guid, 'setInputFiles', { selector: 'input', streams: [guidOf('WritableStream')], timeout: 1000 }],
  [own._guid, 'screenshot', { timeout: 1000, mask: [{ frame: guidOf('Frame'), selector: 'a' }] }],
  [own._guid, 'expectScreenshot', { timeout: 1000, isNot: false, locator: { frame: guidOf('Frame'), selector: 'a' } }],
  [own.context().tracing._guid, 'harStart', { page: guidOf('Page'), options: {} }],
]) {
  const answer = await call(guid, method, params);
  say({ name: `${method} with ${Object.keys(params).join()} of the victim`, error: /no object with guid/.test(failed(answer) ?? '') && !JSON.stringify(answer).includes(secret) ? undefined : JSON.stringify(answer) });
}

await dialog.accept();
say({ name: 'the attacker goes on', error: await own.evaluate('6 * 7') === 42 ? undefined : 'it does not' });
say({ name: 'the victim goes on', error: await page.title() === secret && await handle.evaluate(e => e.tagName) === 'A' ? undefined : 'it does not' });
say({ name: 'types', error: ['Artifact', 'BrowserContext', 'CDPSession', 'Dialog', 'ElementHandle', 'Frame', 'JSHandle', 'Page', 'Request', 'Response', 'Route', 'Stream', 'Tracing', 'Worker', 'WritableStream', 'APIRequestContext', 'BindingCall', 'WebSocketRoute', 'Disposable', 'Debugger'].filter(t => !objects[t]?.size).join() || undefined });
say({ name: 'end' });
process.exit(0);
