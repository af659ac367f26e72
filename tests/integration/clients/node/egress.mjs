// What a page and its client may try to reach an address that they should not, and what an application needs:
// `node egress.mjs <endpoint> <targets as JSON> attempts|pass`. One line of JSON on stdout for each, {name, outcome}, then
// {name: "end"}; everything stays open until stdin ends. Whether an attempt got anywhere is for the server to say that it
// was aimed at; the outcome is for people.
import { chromium } from 'playwright';

const [endpoint, json, what] = process.argv.slice(2);
// app: an origin that is allowed; ports: where one attempt alone goes, on loopback.
const at = JSON.parse(json);

const browser = await chromium.connect(endpoint);
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const late = ms => new Promise(done => setTimeout(done, ms, 'no answer'));
const shared = await context.newPage(), tab = await context.newPage();

// inPage runs a script in a page of the app, which stays there; it knows its own port and address.
const run = (page, body, port) => page.evaluate(`(async () => {
  const port = ${port}, to = 'http://127.0.0.1:' + port + '/hit';
  ${body}
})()`);
const inPage = body => ({ port }) => run(shared, body, port);
// leaving is the same for a script by which the page goes somewhere else.
const leaving = body => async ({ port }) => {
  const page = await context.newPage();
  await page.goto(at.app + '/');
  return run(page, body, port);
};
const element = html => inPage(`document.body.insertAdjacentHTML('beforeend', ${html}); return 'inserted';`);
const goTo = url => ({ port }) => tab.goto(url(port)).then(r => 'status ' + r.status());
// peer gathers candidates with these servers, or talks to a candidate that the other side names.
const peer = (servers, candidate = "''") => inPage(`
  const pc = new RTCPeerConnection({ iceServers: ${servers} });
  pc.createDataChannel('x');
  const gathered = new Promise(done => { pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done('gathered'); });
  await pc.setLocalDescription();
  const candidate = ${candidate};
  if (candidate) {
    const other = new RTCPeerConnection();
    await other.setRemoteDescription(pc.localDescription);
    await other.setLocalDescription();
    await pc.setRemoteDescription(other.localDescription);
    await pc.addIceCandidate({ candidate, sdpMid: '0', sdpMLineIndex: 0 });
  }
  return Promise.race([gathered, new Promise(done => setTimeout(done, 1000, 'still gathering'))]);`);
const socket = url => inPage(`return new Promise(done => { const s = new WebSocket(${url}); s.onopen = () => done("open"); s.onerror = () => done("error"); })`);
const victim = port => `http://127.0.0.1:${port}/hit`;

const attempts = {
  'goto': goTo(victim),
  'goto decimal': goTo(p => `http://2130706433:${p}/hit`),
  'goto octal': goTo(p => `http://0177.0.0.01:${p}/hit`),
  'goto hex': goTo(p => `http://0x7f000001:${p}/hit`),
  'goto short': goTo(p => `http://127.1:${p}/hit`),
  'goto wide digits': goTo(p => `http://１２７.０.０.１:${p}/hit`),
  'goto ipv6': goTo(p => `http://[::1]:${p}/hit`),
  'goto mapped': goTo(p => `http://[::ffff:127.0.0.1]:${p}/hit`),
  'goto mapped hex': goTo(p => `http://[::ffff:7f00:1]:${p}/hit`),
  'goto zero': goTo(p => `http://0.0.0.0:${p}/hit`),
  'goto localhost': goTo(p => `http://localhost:${p}/hit`),
  'goto name': goTo(p => `http://victim.test:${p}/hit`),
  'goto name with dot': goTo(p => `http://VICTIM.test.:${p}/hit`),
  'goto user': goTo(p => `http://app.test@127.0.0.1:${p}/hit`),
  'goto tls': goTo(p => `https://127.0.0.1:${p}/`),
  'redirect': goTo(p => `${at.app}/redirect?status=302&to=${victim(p)}`),
  'redirect 307': goTo(p => `${at.app}/redirect?status=307&to=${victim(p)}`),
  'refresh': leaving('const m = document.createElement("meta"); m.httpEquiv = "refresh"; m.content = "0;url=" + to; document.head.append(m); return "inserted"'),
  'location': leaving('location = to; return "gone"'),
  'form': leaving('const f = document.createElement("form"); f.action = to; f.method = "post"; document.body.append(f); f.submit(); return "sent"'),
  'open': leaving('window.open(to); return "opened"'),
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
  'ping': leaving('const a = document.createElement("a"); a.href = "#x"; a.ping = to; document.body.append(a); a.click(); return "clicked"'),
  'download': leaving('const a = document.createElement("a"); a.href = to; a.download = "x"; document.body.append(a); a.click(); return "clicked"'),
  'csp report': goTo(p => `${at.app}/csp?report=${victim(p)}`),
  'worker': inPage('const w = new Worker(URL.createObjectURL(new Blob([`fetch(${JSON.stringify(to)}).then(() => postMessage("open"), e => postMessage(String(e)))`]))); return new Promise(done => { w.onmessage = e => done(e.data); })'),
  'service worker': inPage(`
    const r = await navigator.serviceWorker.register('/sw.js');
    await navigator.serviceWorker.ready;
    r.active.postMessage(to);
    return new Promise(done => { navigator.serviceWorker.onmessage = e => done(e.data); });`),
  'service worker script': inPage('return navigator.serviceWorker.register("/sw.js?import=" + to).then(() => "registered", String)'),
  'websocket': socket('`ws://127.0.0.1:${port}/hit`'),
  'websocket tls': socket('`wss://127.0.0.1:${port}/hit`'),
  'stun': peer('[{ urls: `stun:127.0.0.1:${port}` }]'),
  'turn': peer('[{ urls: `turn:127.0.0.1:${port}?transport=udp`, username: "a", credential: "b" }]'),
  'turn tcp': peer('[{ urls: `turn:127.0.0.1:${port}?transport=tcp`, username: "a", credential: "b" }]'),
  'turn tls': peer('[{ urls: `turns:127.0.0.1:${port}?transport=tcp`, username: "a", credential: "b" }]'),
  'ice': peer('[]', '`candidate:1 1 udp 2113937151 127.0.0.1 ${port} typ host`'),
  'ice tcp': peer('[]', '`candidate:1 1 tcp 2113937151 127.0.0.1 ${port} typ host tcptype passive`'),
  'webtransport': inPage(`
    const t = new WebTransport('https://127.0.0.1:' + port + '/', { serverCertificateHashes: [{ algorithm: 'sha-256', value: new Uint8Array(32) }] });
    t.closed.catch(() => {});
    return Promise.race([t.ready.then(() => 'open', String), new Promise(done => setTimeout(done, 1000, 'no answer'))]);`),
  'context request': ({ port }) => context.request.get(victim(port)).then(async r => r.status() + ' ' + await r.text()),
  'context request redirect': ({ port }) => context.request.get(`${at.app}/redirect?status=302&to=${victim(port)}`).then(r => 'status ' + r.status()),
  'page request': ({ port }) => tab.request.post(victim(port)).then(r => 'status ' + r.status()),
  'route fetch': async ({ port }) => {
    await tab.route('**/routed', async route => route.fulfill({ response: await route.fetch({ url: victim(port) }) }), { times: 1 });
    return tab.goto(at.app + '/routed').then(r => 'status ' + r.status());
  },
  'route continue': async ({ port }) => {
    await tab.route('**/routed', route => route.continue({ url: victim(port) }), { times: 1 });
    return tab.goto(at.app + '/routed').then(r => 'status ' + r.status());
  },
  'websocket route': async ({ port }) => {
    const page = await context.newPage();
    await page.routeWebSocket('**', ws => { ws.connectToServer(); });
    await page.goto(at.app + '/');
    return run(page, 'return new Promise(done => { const s = new WebSocket(`ws://127.0.0.1:${port}/hit`); s.onopen = () => done("open"); s.onerror = s.onclose = () => done("error"); })', port);
  },
  'proxy of a context': async ({ port }) => {
    const other = await browser.newContext({ proxy: { server: `http://127.0.0.1:${port}` } });
    return (await other.newPage()).goto('http://elsewhere.test/').then(r => 'status ' + r.status());
  },
  // The server itself connects for such a context.
  'client certificate': async ({ port }) => {
    const origin = `https://127.0.0.1:${port}`;
    const other = await browser.newContext({ ignoreHTTPSErrors: true, clientCertificates: [{ origin, cert: Buffer.from(at.certificate), key: Buffer.from(at.key) }] });
    return (await other.newPage()).goto(origin + '/').then(r => 'status ' + r.status());
  },
  // The name is the app's when the page is opened, and the victim's when it asks again.
  'rebinding': async ({ port }) => {
    const page = await context.newPage();
    await page.goto(`http://rebinding.test:${port}/`);
    const first = await page.textContent('body');
    return `${first}, then ` + await page.evaluate('fetch("/hit").then(r => r.text(), String)');
  },
};

// What has a browser ask DNS by itself for a name that nobody else knows.
const asks = name => inPage(`
  const html = '<link rel="dns-prefetch" href="http://prefetch-${name}.test"><link rel="preconnect" href="http://preconnect-${name}.test"><a href="http://link-${name}.test">link</a>';
  document.head.insertAdjacentHTML('beforeend', '<meta http-equiv="x-dns-prefetch-control" content="on">');
  document.body.insertAdjacentHTML('beforeend', html);
  return fetch('/cors').then(r => r.text())`);
// The last of them is where the log ends.
const names = {
  'links': asks('x'),
  'stun': peer('[{ urls: "stun:stun-x.test:3478" }]'),
  'turn': peer('[{ urls: "turn:turn-x.test:3478?transport=udp", username: "a", credential: "b" }]'),
  'turn tcp': peer('[{ urls: "turn:turn-tcp-x.test:3478?transport=tcp", username: "a", credential: "b" }]'),
  'candidate': peer('[]', "'candidate:1 1 udp 2113937151 candidate-x.test 9 typ host'"),
  'webtransport': inPage(`
    const t = new WebTransport('https://webtransport-x.test/');
    t.closed.catch(() => {});
    return Promise.race([t.ready.then(() => 'open', String), new Promise(done => setTimeout(done, 1000, 'no answer'))]);`),
  'websocket': inPage('return new Promise(done => { const s = new WebSocket("ws://websocket-x.test/"); s.onopen = () => done("open"); s.onerror = () => done("error"); })'),
  'fetch': inPage('return fetch("http://fetch-x.test/", { mode: "no-cors" }).then(r => r.type, String)'),
  'page': goTo(() => 'http://page-x.test/'),
  'last': async () => (await context.newPage()).goto(`${at.app}/last`).then(r => 'status ' + r.status()),
};

// What an allowed application must be able to do.
const pass = {
  'page': async () => { await tab.goto(at.app + '/'); return tab.title(); },
  'page by name': async () => { await tab.goto(`http://app.test:${new URL(at.app).port}/`); return tab.title(); },
  'websocket echo': inPage('return new Promise(done => { const s = new WebSocket(location.href.replace("http:", "ws:") + "echo"); s.onopen = () => s.send("hello"); s.onmessage = e => done(e.data); s.onerror = () => done("error"); })'),
  'fetch of another': inPage(`return fetch("${at.other}/cors").then(r => r.text(), String)`),
  'upload': inPage('return fetch("/length", { method: "POST", body: new Uint8Array(20e6) }).then(r => r.text())'),
  'download': async () => {
    await tab.goto(at.app + '/');
    const [d] = await Promise.all([tab.waitForEvent('download'), tab.evaluate('void (location = "/big")')]);
    let size = 0;
    for await (const chunk of await d.createReadStream()) size += chunk.length;
    return size;
  },
  'events': inPage('return new Promise(done => { let n = 0; const s = new EventSource("/events"); s.onmessage = e => { if (++n == 3) { s.close(); done(e.data); } }; })'),
  'request': async () => (await context.request.get(at.app + '/cors')).text(),
  'down': goTo(p => `http://127.0.0.2:${p}/`),
  'down tls': goTo(p => `https://127.0.0.2:${p}/`),
  'no such name': goTo(() => 'http://nowhere.test/'),
  'refused': async ({ port }) => { const page = await context.newPage(), r = await page.goto(victim(port)); return r.status() + ' ' + await page.textContent('body'); },
  'refused tls': goTo(p => `https://127.0.0.1:${p}/`),
  'refused request': async ({ port }) => { const r = await context.request.get(victim(port)); return r.status() + ' ' + await r.text(); },
};

await shared.goto(at.app + '/');
for (const [name, step] of Object.entries({ attempts, names, pass }[what])) {
  if (what === 'attempts' && !at.ports[name]) continue; // not asked for
  const going = Promise.resolve().then(() => step({ port: at.ports[name] })).catch(e => e.message);
  const outcome = await Promise.race([going, late(20_000)]);
  process.stdout.write(JSON.stringify({ name, outcome: String(outcome) }) + '\n');
}
process.stdout.write(JSON.stringify({ name: 'end', outcome: '' }) + '\n');
process.stdin.resume().on('end', () => process.exit(0));
