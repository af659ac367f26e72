// What a page and its client may try to reach an address that they should not: `node egress.mjs <endpoint> <targets as JSON>`.
// One attempt's name per line on stdin; one line of JSON on stdout for each: {name, outcome}. Whether an attempt got
// anywhere is for the server to say that it was aimed at; the outcome is for people.
import readline from 'node:readline';
import { chromium } from 'playwright';

const [endpoint, json] = process.argv.slice(2);
// app: an origin that is allowed; victim: host:port of one that is not; stun, turn, quic, ice, raw, preconnect, proxy: ports
// of 127.0.0.1 where nothing but the one attempt goes.
const at = JSON.parse(json);
const victim = name => `http://${at.victim}/hit/${name}`;
const port = at.victim.split(':').pop();

const browser = await chromium.connect(endpoint);
const limit = 30_000;
const late = ms => new Promise(done => setTimeout(done, ms, 'no answer'));

// inPage runs an expression in the app's page; it may use the names of `args`.
const inPage = body => async ({ page, name }) => {
  await page.goto(at.app + '/');
  return page.evaluate(`(async () => { const name = ${JSON.stringify(name)}, to = ${JSON.stringify(victim(name))}, at = ${JSON.stringify(at)}; ${body} })()`);
};
const element = (html, how = 'document.body.insertAdjacentHTML("beforeend", html)') => inPage(`
  const html = ${html};
  ${how};
  return 'inserted';`);
const goTo = url => ({ page, name }) => page.goto(url(name)).then(r => 'status ' + r.status());
// peer gathers candidates with these servers, or talks to a candidate that the other side names.
const peer = (servers, candidate) => inPage(`
  const pc = new RTCPeerConnection({ iceServers: ${servers} });
  pc.createDataChannel('x');
  const gathered = new Promise(done => { pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done('gathered'); });
  await pc.setLocalDescription();
  const candidate = ${candidate ?? "''"};
  if (candidate) {
    const other = new RTCPeerConnection();
    await other.setRemoteDescription(pc.localDescription);
    await other.setLocalDescription();
    await pc.setRemoteDescription(other.localDescription);
    await pc.addIceCandidate({ candidate, sdpMid: '0', sdpMLineIndex: 0 });
  }
  return gathered;`);

const attempts = {
  'goto': goTo(victim),
  'goto decimal': goTo(n => `http://2130706433:${port}/hit/${n}`),
  'goto octal': goTo(n => `http://0177.0.0.01:${port}/hit/${n}`),
  'goto hex': goTo(n => `http://0x7f000001:${port}/hit/${n}`),
  'goto short': goTo(n => `http://127.1:${port}/hit/${n}`),
  'goto wide digits': goTo(n => `http://１２７.０.０.１:${port}/hit/${n}`),
  'goto ipv6': goTo(n => `http://[::1]:${port}/hit/${n}`),
  'goto mapped': goTo(n => `http://[::ffff:127.0.0.1]:${port}/hit/${n}`),
  'goto mapped hex': goTo(n => `http://[::ffff:7f00:1]:${port}/hit/${n}`),
  'goto zero': goTo(n => `http://0.0.0.0:${port}/hit/${n}`),
  'goto other loopback': goTo(n => `http://127.9.9.9:${port}/hit/${n}`),
  'goto localhost': goTo(n => `http://localhost:${port}/hit/${n}`),
  'goto name': goTo(n => `http://victim.test:${port}/hit/${n}`),
  'goto name with dot': goTo(n => `http://VICTIM.test.:${port}/hit/${n}`),
  'goto user': goTo(n => `http://app.test@127.0.0.1:${port}/hit/${n}`),
  'goto tls': ({ page }) => page.goto(`https://127.0.0.1:${at.raw}/`),
  'redirect': ({ page, name }) => page.goto(`${at.app}/redirect?status=302&to=${victim(name)}`).then(r => 'status ' + r.status()),
  'redirect 307': ({ page, name }) => page.goto(`${at.app}/redirect?status=307&to=${victim(name)}`).then(r => 'status ' + r.status()),
  'refresh': element('`<meta http-equiv=refresh content="0;url=${to}">`', 'document.write(html)'),
  'location': inPage('location = to; return "gone"'),
  'form': inPage('const f = document.createElement("form"); f.action = to; f.method = "post"; document.body.append(f); f.submit(); return "sent"'),
  'open': inPage('window.open(to); return "opened"'),
  'fetch': inPage('return fetch(to).then(r => r.text(), String)'),
  'fetch no-cors': inPage('return fetch(to, { mode: "no-cors", method: "POST", body: "x" }).then(r => r.type, String)'),
  'fetch redirect': inPage('return fetch("/redirect?status=302&to=" + to).then(r => r.text(), String)'),
  'fetch keepalive': inPage('return fetch(to, { keepalive: true, method: "POST", body: "x" }).then(r => r.text(), String)'),
  'xhr': inPage('return new Promise(done => { const x = new XMLHttpRequest(); x.open("GET", to); x.onloadend = () => done(x.status); x.send(); })'),
  'beacon': inPage('return navigator.sendBeacon(to, "x")'),
  'events': inPage('return new Promise(done => { const s = new EventSource(to); s.onopen = () => done("open"); s.onerror = () => { s.close(); done("error"); }; })'),
  'image': element('`<img src="${to}">`'),
  'frame': element('`<iframe src="${to}"></iframe>`'),
  'object': element('`<object data="${to}"></object>`'),
  'embed': element('`<embed src="${to}">`'),
  'video': element('`<video src="${to}" preload="auto"></video>`'),
  'style': element('`<link rel="stylesheet" href="${to}">`'),
  'font': element('`<style>@font-face { font-family: f; src: url(${to}) }</style><p style="font-family: f">text`'),
  'script': inPage('const s = document.createElement("script"); s.src = to; document.body.append(s); return "inserted"'),
  'import': inPage('return import(to).then(() => "imported", String)'),
  'prefetch': element('`<link rel="prefetch" href="${to}">`'),
  'preload': element('`<link rel="preload" as="fetch" crossorigin href="${to}">`'),
  'preconnect': element('`<link rel="preconnect" href="http://127.0.0.1:${at.preconnect}">`'),
  'ping': inPage('const a = document.createElement("a"); a.href = "#x"; a.ping = to; document.body.append(a); a.click(); return "clicked"'),
  'download': inPage('const a = document.createElement("a"); a.href = to; a.download = "x"; document.body.append(a); a.click(); return "clicked"'),
  'csp report': ({ page, name }) => page.goto(`${at.app}/csp?report=${victim(name)}`).then(r => 'status ' + r.status()),
  'worker': inPage('const w = new Worker(URL.createObjectURL(new Blob([`fetch(${JSON.stringify(to)}).then(() => postMessage("open"), e => postMessage(String(e)))`]))); return new Promise(done => { w.onmessage = e => done(e.data); })'),
  'service worker': inPage(`
    const r = await navigator.serviceWorker.register('/sw.js');
    await navigator.serviceWorker.ready;
    r.active.postMessage(to);
    return new Promise(done => { navigator.serviceWorker.onmessage = e => done(e.data); });`),
  'service worker script': inPage('return navigator.serviceWorker.register("/sw.js?import=" + to).then(() => "registered", String)'),
  'websocket': inPage('return new Promise(done => { const s = new WebSocket(to.replace("http:", "ws:")); s.onopen = () => done("open"); s.onerror = () => done("error"); })'),
  'websocket tls': inPage('return new Promise(done => { const s = new WebSocket(`wss://127.0.0.1:${at.raw}/`); s.onopen = () => done("open"); s.onerror = () => done("error"); })'),
  'stun': peer('[{ urls: `stun:127.0.0.1:${at.stun}` }]'),
  'turn': peer('[{ urls: `turn:127.0.0.1:${at.turn}?transport=udp`, username: "a", credential: "b" }]'),
  'turn tcp': peer('[{ urls: `turn:127.0.0.1:${at.turn}?transport=tcp`, username: "a", credential: "b" }]'),
  'turn tls': peer('[{ urls: `turns:127.0.0.1:${at.turn}?transport=tcp`, username: "a", credential: "b" }]'),
  'ice': peer('[]', '`candidate:1 1 udp 2113937151 127.0.0.1 ${at.ice} typ host`'),
  'ice tcp': peer('[]', '`candidate:1 1 tcp 2113937151 127.0.0.1 ${at.ice} typ host tcptype passive`'),
  'webtransport': inPage(`
    const t = new WebTransport('https://127.0.0.1:' + at.quic + '/', { serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(32) }] });
    t.closed.catch(() => {});
    return t.ready.then(() => 'open', String);`),
  'context request': ({ context, name }) => context.request.get(victim(name)).then(async r => r.status() + ' ' + await r.text()),
  'context request redirect': ({ context, name }) => context.request.get(`${at.app}/redirect?status=302&to=${victim(name)}`).then(r => 'status ' + r.status()),
  'page request': ({ page, name }) => page.request.post(victim(name)).then(r => 'status ' + r.status()),
  'route fetch': async ({ page, name }) => {
    await page.route('**/routed', async route => route.fulfill({ response: await route.fetch({ url: victim(name) }) }));
    return page.goto(at.app + '/routed').then(r => 'status ' + r.status());
  },
  'route continue': async ({ page, name }) => {
    await page.route('**/routed', route => route.continue({ url: victim(name) }));
    return page.goto(at.app + '/routed').then(r => 'status ' + r.status());
  },
  'websocket route': async ({ page, name }) => {
    await page.routeWebSocket('**', ws => { ws.connectToServer(); });
    return inPage('return new Promise(done => { const s = new WebSocket(to.replace("http:", "ws:")); s.onopen = () => done("open"); s.onerror = () => done("error"); })')({ page, name });
  },
  'proxy of a context': async () => {
    const context = await browser.newContext({ proxy: { server: `http://127.0.0.1:${at.proxy}` } });
    try {
      return await (await context.newPage()).goto('http://elsewhere.test/').then(r => 'status ' + r.status());
    } finally {
      await context.close();
    }
  },
  // The name is the app's when the page is opened, and the victim's when it asks again.
  'rebinding': async ({ page, name }) => {
    await page.goto(`http://rebinding.test:${port}/`);
    const title = await page.title();
    for (let n = 0; n < 20; n++) {
      const got = await page.evaluate(url => fetch(url).then(r => r.text(), String), `/hit/${name}`);
      if (!got.includes('app')) return title + ', then ' + got;
    }
    return title + ' for ever';
  },
};

// What an allowed application must be able to do.
const pass = {
  'page': async ({ page }) => { await page.goto(at.app + '/'); return page.title(); },
  'page by name': async ({ page }) => { await page.goto(`http://app.test:${new URL(at.app).port}/`); return page.title(); },
  'websocket echo': inPage('return new Promise(done => { const s = new WebSocket(location.href.replace("http:", "ws:") + "echo"); s.onopen = () => s.send("hello"); s.onmessage = e => done(e.data); s.onerror = () => done("error"); })'),
  'fetch of another': inPage('return fetch(at.other + "/cors").then(r => r.text(), String)'),
  'upload': inPage('return fetch("/length", { method: "POST", body: new Uint8Array(20e6) }).then(r => r.text())'),
  'download': async ({ page }) => {
    await page.goto(at.app + '/');
    const [d] = await Promise.all([page.waitForEvent('download'), page.evaluate('location = "/big"')]);
    let size = 0;
    for await (const chunk of await d.createReadStream()) size += chunk.length;
    return String(size);
  },
  'events': inPage('return new Promise(done => { let n = 0; const s = new EventSource("/events"); s.onmessage = e => { if (++n == 3) { s.close(); done(e.data); } }; })'),
  'request': async ({ context }) => (await context.request.get(at.app + '/cors')).text(),
  'down': async ({ page }) => page.goto(`http://127.0.0.2:${at.down}/`).then(r => 'status ' + r.status(), e => e.message.split('\n')[0]),
  'down tls': async ({ page }) => page.goto(`https://127.0.0.2:${at.down}/`).then(r => 'status ' + r.status(), e => e.message.split('\n')[0]),
  'no such name': async ({ page }) => page.goto('http://nowhere.test/').then(r => 'status ' + r.status(), e => e.message.split('\n')[0]),
  'refused': async ({ page }) => page.goto(victim('x')).then(async r => r.status() + ' ' + await page.textContent('body'), e => e.message.split('\n')[0]),
  'refused tls': async ({ page }) => page.goto(`https://127.0.0.1:${at.raw}/`).then(r => 'status ' + r.status(), e => e.message.split('\n')[0]),
  'refused request': async ({ context }) => context.request.get(victim('x')).then(async r => r.status() + ' ' + await r.text()),
};

let open;
for await (const line of readline.createInterface({ input: process.stdin })) {
  await open?.close().catch(() => {}); // only now: until then its pages went on trying
  const [kind, name] = JSON.parse(line);
  const context = open = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const run = (kind === 'pass' ? pass : attempts)[name]({ context, page, name: name.replaceAll(' ', '-') });
  const outcome = await Promise.race([run, late(limit)]).catch(e => e.message);
  run.catch(() => {});
  process.stdout.write(JSON.stringify({ name, outcome: String(outcome) }) + '\n');
}
process.exit(0);
