// Records of a session: traces, HAR, video, pictures of the screen as it goes.
import fs from 'node:fs';
import { unzip } from '../zip.mjs';

const unique = list => [...new Set(list)].sort();

// What kinds of files a trace has, and of what kinds its events are.
function kinds(file) {
  const entries = unzip(file);
  const events = Object.entries(entries).filter(([name]) => name.endsWith('.trace') || name.endsWith('.network')).flatMap(([, text]) => text.toString().trim().split('\n').filter(Boolean).map(l => JSON.parse(l)));
  return {
    files: unique(Object.keys(entries).map(n => n.replace(/[0-9a-f]{40}/, 'SUM').replace(/\w+@\d+-/, 'CALL-').replace(/.*(page@)?[0-9a-f]{32}.*(\.\w+)$/, 'FRAME$2'))),
    events: unique(events.map(e => e.type)),
    calls: events.filter(e => e.type === 'before').map(e => `${e.class}.${e.method}`),
    requests: unique(events.filter(e => e.type === 'resource-snapshot').map(e => e.snapshot.request.url).filter(u => !u.includes('favicon'))),
  };
}
const har = text => JSON.parse(text).log.entries.filter(e => !e.request.url.includes('favicon')).map(e => [e.request.method, e.request.url, e.response.status, e.response.content.mimeType, e.response.content.text ?? Boolean(e.response.content._file)]);

export default {
  'trace': async ({ context, page, site, file }) => {
    await context.tracing.start({ screenshots: true, snapshots: { dom: true, aria: true, screen: true }, sources: true, title: 'a trace' });
    const p = await page();
    await p.goto(site.url);
    await context.tracing.group('steps');
    await p.click('text=next');
    await context.tracing.groupEnd();
    await p.screenshot();
    await context.tracing.stop({ path: file('trace.zip') });
    return kinds(file('trace.zip'));
  },
  'chunks of a trace': async ({ context, page, site, file }) => {
    await context.tracing.start({ snapshots: true, name: 'chunked' });
    const p = await page();
    await context.tracing.startChunk({ title: 'one', name: 'first' });
    await p.goto(site.url);
    await context.tracing.stopChunk({ path: file('1.zip') });
    await context.tracing.startChunk();
    await p.setContent('<b>two</b>');
    await context.tracing.stopChunk({ path: file('2.zip') });
    await context.tracing.startChunk();
    await context.tracing.stopChunk();
    await context.tracing.stop();
    return [kinds(file('1.zip')), kinds(file('2.zip'))];
  },
  'trace of requests': async ({ context, site, file }) => {
    await context.tracing.start({ snapshots: true });
    await context.request.get(site.url + '/data.json');
    await context.tracing.stop({ path: file('t.zip') });
    return kinds(file('t.zip'));
  },
  'HAR': async ({ browser, context, page, site, file }) => {
    const value = [];
    for (const [name, options] of Object.entries({ 'full.har': {}, 'small.har': { mode: 'minimal', urlFilter: '**/data.json' }, 'zipped.zip': {} })) {
      const c = await browser.newContext({ recordHar: { path: file(name), ...options } });
      const p = await c.newPage();
      await p.goto(site.url);
      await p.evaluate(() => fetch('/data.json').then(r => r.text()));
      await c.close();
      value.push(har(name.endsWith('.zip') ? unzip(file(name))['har.har'].toString() : fs.readFileSync(file(name), 'utf8')));
    }
    await context.tracing.startHar(file('traced.har'));
    await (await page()).goto(site.url + '/next');
    await context.tracing.stopHar();
    value.push(har(fs.readFileSync(file('traced.har'), 'utf8')));
    for (const name of ['full.har', 'zipped.zip']) {
      const replay = await browser.newContext();
      await replay.routeFromHAR(file(name), { notFound: 'abort' });
      const p = await replay.newPage();
      await p.goto(site.url);
      value.push(await p.innerText('h1'), await p.evaluate(() => fetch('/data.json').then(r => r.json())), await p.evaluate(() => fetch('/style.css').catch(e => e.message)));
      await replay.close();
    }
    const update = await browser.newContext();
    const p = await update.newPage();
    await p.routeFromHAR(file('updated.har'), { update: true, updateContent: 'embed' });
    await p.goto(site.url);
    await update.close();
    value.push(har(fs.readFileSync(file('updated.har'), 'utf8')));
    return value;
  },
  'video': async ({ browser, file, failure }) => {
    const context = await browser.newContext({ recordVideo: { dir: file('videos'), size: { width: 320, height: 240 } } });
    const page = await context.newPage();
    await page.setContent('<h1>film</h1>');
    await page.screenshot();
    const video = page.video();
    await context.close();
    await video.saveAs(file('v.webm'));
    const value = [fs.readFileSync(file('v.webm')).subarray(0, 4).toString('hex'), await failure(video.path()), fs.existsSync(file('videos'))];
    await video.delete();
    return [...value, await failure(video.saveAs(file('deleted.webm')))];
  },
  'screencast': async ({ page, file, failure }) => {
    const p = await page();
    let got;
    const first = new Promise(done => { got = done; });
    await p.screencast.start({ onFrame: f => got(f), size: { width: 400, height: 300 } });
    await p.setContent('<h1>moving</h1>');
    const frame = await first;
    await p.screencast.stop();
    return [frame.data.subarray(0, 2).toString('hex'), frame.viewportWidth, frame.viewportHeight, await failure(p.screencast.start({ path: file('cast.webm') }))];
  },
};
