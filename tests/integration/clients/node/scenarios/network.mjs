// The network of pages: what goes out, what is answered in its place, and requests of the client.
import { request as requests } from 'playwright';

const wait = (page, message) => page.evaluate(m => new Promise(done => {
  const ws = new WebSocket('ws://' + location.host + '/ws');
  ws.onopen = () => ws.send(m);
  ws.onmessage = e => { ws.close(); done(e.data); };
  ws.onerror = () => done('error');
}), message);
const get = (page, address, options) => page.evaluate(([a, o]) => fetch(a, o).then(async r => [r.status, await r.text()], e => e.message), [address, options]);

export default {
  'routes': async ({ context, page, site, file }) => {
    const p = await page();
    const said = [];
    await context.route('**/json', route => route.fulfill({ json: { made: 'here' }, headers: { 'x-made': 'y' } }));
    await p.route(/\/from-disk$/, route => route.fulfill({ path: file('page.html', '<title>from disk</title>') }));
    await p.route('**/blocked', route => route.abort('accessdenied'));
    await p.route('**/changed', route => route.continue({ url: site.url + '/echo', method: 'PUT', headers: { ...route.request().headers(), 'x-one': 'added' }, postData: 'sent instead' }));
    await p.route('**/fetched', async route => { const r = await route.fetch({ url: site.url + '/data.json' }); await route.fulfill({ response: r, json: { ...await r.json(), more: 1 } }); });
    await p.route('**/fallen', route => { said.push('second'); return route.fulfill({ body: 'end' }); });
    await p.route('**/fallen', route => { said.push('first'); return route.fallback({ headers: { 'x-one': 'f' } }); });
    await p.route('**/once', route => route.fulfill({ body: 'once' }), { times: 1 });
    await p.goto(site.url + '/from-disk');
    const value = [await p.title()];
    for (const address of ['/json', '/blocked', '/changed', '/fetched', '/fallen', '/once', '/once']) value.push([address, await get(p, address)]);
    await p.unroute('**/blocked');
    await p.unrouteAll({ behavior: 'wait' });
    value.push(await get(p, '/blocked'), said);
    return value;
  },
  'requests and responses of a page': async ({ page, site }) => {
    const p = await page();
    const events = [];
    for (const name of ['request', 'response', 'requestfinished', 'requestfailed']) p.on(name, x => { if (!x.url().includes('favicon')) events.push(name + ' ' + x.url()); });
    const response = await p.goto(site.url + '/redirect');
    const value = [response.status(), response.ok(), response.url(), response.fromServiceWorker(), await response.serverAddr().then(a => a.ipAddress), await response.securityDetails(),
      (await response.request().redirectedFrom().response()).status(), await response.finished(), (await response.body()).length, await response.headerValue('content-type')];
    const [sent] = await Promise.all([p.waitForRequest('**/echo'), get(p, '/echo', { method: 'POST', body: '{"q":1}', headers: { 'content-type': 'application/json', 'x-one': '1' } })]);
    value.push(sent.method(), sent.postDataJSON(), sent.resourceType(), sent.isNavigationRequest(), (await sent.allHeaders())['x-one'], sent.frame() === p.mainFrame());
    const { requestBodySize, responseBodySize } = await sent.sizes();
    value.push(requestBodySize, responseBodySize > 50, Object.keys(sent.timing()).sort());
    const [failed] = await Promise.all([p.waitForEvent('requestfailed'), get(p, 'http://127.0.0.1:9/')]);
    value.push(failed.failure().errorText, (await p.requests()).length, events.slice(0, 6));
    return value;
  },
  'a form': async ({ page, site }) => {
    const p = await page();
    await p.goto(site.url + '/form');
    await p.getByLabel('Name').fill('me & you');
    await Promise.all([p.waitForURL('**/echo'), p.getByRole('button').click()]);
    return JSON.parse(await p.textContent('body')).body;
  },
  'websockets': async ({ context, page, site }) => {
    const p = await page();
    await p.goto(site.url);
    const frames = [];
    p.on('websocket', ws => { for (const e of ['framesent', 'framereceived']) ws.on(e, f => frames.push(e + ' ' + f.payload)); });
    const value = [await wait(p, 'plain')];
    const q = await page();
    await q.routeWebSocket('**/ws', ws => { const server = ws.connectToServer(); ws.onMessage(m => server.send(m + '!')); server.onMessage(m => ws.send('(' + m + ')')); });
    await q.goto(site.url);
    value.push(await wait(q, 'through'));
    await context.routeWebSocket(/ws$/, ws => { ws.onMessage(m => ws.send('mocked ' + m)); });
    const r = await page();
    await r.goto(site.url);
    value.push(await wait(r, 'alone'), frames);
    return value;
  },
  'requests of the context': async ({ context, page, site, file, failure }) => {
    const p = await page();
    await p.goto(site.url + '/cookie');
    const api = context.request;
    const value = [];
    for (const [method, options] of [['get', { params: { a: 'ü' } }], ['post', { data: { a: 1 } }], ['put', { data: 'text' }], ['patch', { form: { f: '1' } }], ['delete', {}]])
      value.push(await (await api[method](site.url + '/echo', { headers: { 'x-one': method }, ...options })).json());
    value.push((await (await api.post(site.url + '/echo', { multipart: { field: 'v', file: { name: 'f.txt', mimeType: 'text/plain', buffer: Buffer.from('up') } } })).json()).bytes > 100);
    value.push((await (await p.request.post(site.url + '/echo', { multipart: { file: file('m.txt', 'from disk') } })).json()).method);
    const big = await api.post(site.url + '/echo', { data: Buffer.alloc(5 << 20) });
    value.push((await big.json()).bytes, (await api.head(site.url + '/next')).status(), (await api.get(site.url + '/redirect', { maxRedirects: 0 })).status());
    const missing = await api.get(site.url + '/none');
    value.push(missing.ok(), missing.statusText(), (await (await api.get(site.url + '/file')).body()).length, await failure(api.get(site.url + '/none', { failOnStatusCode: true })));
    value.push((await api.storageState()).cookies.length, await failure(api.get('http://127.0.0.1:9/')));
    return value;
  },
  "the client's own requests": async ({ site }) => {
    const api = await requests.newContext({ baseURL: site.url, extraHTTPHeaders: { 'x-one': 'own' } });
    const value = await (await api.get('/echo')).json();
    await api.dispose();
    return value;
  },
};
