// Attempts of a session to reach the Playwright server past the gate: `node around.mjs <url> <address of the worker> <socket of
// the server> <running session>`. One line of JSON on stdout for each: {name} or {name, error}.
import { chromium } from 'playwright';

const [url, worker, socket, session] = process.argv.slice(2);
const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const attempt = async (name, run, want) => {
  const got = await run().catch(e => 'failed: ' + e.message);
  say({ name, error: want(String(got)) ? undefined : String(got) });
};
const nothing = got => got === 'nothing', closed = got => got === 'closed';

const browser = await chromium.connect(url);
const headers = { 'x-pwdist-session': session, 'x-pwdist-attempt': '1', 'x-pwdist-proxy': 'p' };
const context = await browser.newContext({ bypassCSP: true, ignoreHTTPSErrors: true });
const page = await context.newPage();
await page.goto('http://example.com/');

// In the page.
const open = address => page.evaluate(a => new Promise(done => {
  let ws;
  try { ws = new WebSocket(a); } catch { return done('closed'); }
  ws.onopen = () => done('open');
  ws.onclose = () => done('closed');
}), address);
const read = (address, options) => page.evaluate(([a, o]) => fetch(a, o).then(async r => r.status + await r.text() || 'nothing', () => 'nothing'), [address, options]);
const frame = address => page.evaluate(a => new Promise(done => {
  const f = document.createElement('iframe');
  f.onload = () => { let text = 'nothing'; try { text = f.contentDocument.body.innerText || 'nothing'; } catch { /* another origin: an error page */ } done(text); };
  f.src = a;
  document.body.append(f);
  setTimeout(() => done('nothing'), 1000);
}), address);

const paths = [socket, encodeURIComponent(socket)];
for (const path of paths) {
  for (const scheme of ['ws+unix://', 'ws+unix:', 'unix:', 'ws://unix:', 'ws://', 'wss+unix://']) await attempt(`WebSocket ${scheme} ${path === socket ? '' : 'escaped'}`, () => open(`${scheme}${path}:/`), closed);
  for (const scheme of ['file://', 'http+unix://', 'unix:', 'http://unix:', 'filesystem:file://']) await attempt(`fetch ${scheme} ${path === socket ? '' : 'escaped'}`, () => read(scheme + path), nothing);
}
await attempt('frame', () => frame('file://' + socket), nothing);
await attempt('frame of its folder', () => frame('file://' + socket.replace(/[^/]*$/, '')), nothing);

// By the protocol, whose server is the process that has the socket.
const refused = got => got.startsWith('failed: ') && !got.includes('Timeout');
await attempt('goto', () => page.goto('file://' + socket), got => got.includes('The pool refuses'));
await attempt('goto unix', () => page.goto('http+unix://' + encodeURIComponent(socket)), got => got.includes('The pool refuses'));
for (const address of ['http+unix://' + encodeURIComponent(socket), 'unix:' + socket, `http://unix:${socket}:/`, 'ws+unix:' + socket])
  await attempt('request ' + address.slice(0, 12), () => context.request.get(address, { timeout: 5000 }), refused);

// The gate's port, without an assignment and with somebody else's.
for (const path of ['/', '/session', '/json', `/session/${session}`]) {
  await attempt('gate ' + path.slice(0, 9), () => open(`ws://${worker}${path}`), closed);
  await attempt('gate, fetch ' + path.slice(0, 9), () => read(`http://${worker}${path}`), nothing);
}
const no = got => ['400', '403', '426'].includes(got) || refused(got);
const upgrade = { ...headers, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
for (const [name, h] of Object.entries({ 'a running': upgrade, 'an invented': { ...upgrade, 'x-pwdist-session': '0123456789abcdef0123456789abcdef' }, 'no': {} }))
  await attempt(`request to the gate with ${name} session`, async () => (await context.request.get(`http://${worker}/`, { headers: h, timeout: 5000 })).status(), no);
await context.setExtraHTTPHeaders(headers);
await attempt("gate with a running session's headers", () => open(`ws://${worker}/`), closed);
await attempt("fetch at the gate with a running session's headers", () => read(`http://${worker}/`), nothing);
const cdp = await context.newCDPSession(page);
await cdp.send('Network.enable');
await cdp.send('Network.setExtraHTTPHeaders', { headers });
await attempt("gate with a running session's headers by CDP", () => open(`ws://${worker}/`), closed);
await browser.close();
say({ name: 'end' });
process.exit(0);
