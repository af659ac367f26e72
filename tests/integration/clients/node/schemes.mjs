// What pages by themselves open of the machine of their browser: `node schemes.mjs <url> <file>`. The browser keeps them from
// it, with nothing else that does. One line of JSON on stdout for each way and address: {name} or {name, error}.
import { chromium } from 'playwright';

const [url, file] = process.argv.slice(2);
const secret = 'secret of the disk';
const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const browser = await chromium.connect(url);
const site = 'http://site.test/';

const put = (page, html) => page.evaluate(html => { document.body.innerHTML = html; }, html);
const ways = {
  location: (page, to) => page.evaluate(to => { location.href = to; }, to),
  'new window': (page, to) => page.evaluate(to => { open(to); }, to),
  link: async (page, to) => { await put(page, `<a href="${to}">go</a>`); await page.click('a', { noWaitAfter: true }); },
  'link in a new tab': async (page, to) => { await put(page, `<a href="${to}">go</a>`); await page.click('a', { button: 'middle', noWaitAfter: true }); },
  form: async (page, to) => { await put(page, `<form method=post action="${to}"><button>go</button></form>`); await page.click('button', { noWaitAfter: true }); },
  frame: (page, to) => put(page, `<iframe src="${to}"></iframe>`),
  refresh: (page, to) => page.evaluate(to => { document.head.innerHTML = `<meta http-equiv=refresh content="0;url=${to}">`; }, to),
  'javascript:': (page, to) => page.goto(`javascript:void(location.href = ${JSON.stringify(to)})`).catch(() => {}),
  redirect: async (page, to) => {
    await page.route(site + 'redirect', route => route.fulfill({ status: 302, headers: { location: to } }));
    return page.goto(site + 'redirect');
  },
};

const all = Object.keys(ways), some = ['location', 'frame', 'redirect'];
const cases = [
  [site, 'file://' + file, all], [site, 'view-source:file://' + file, some], [site, 'chrome://version/', some],
  [site, 'filesystem:file:///temporary/x', ['location']], [site, 'devtools://devtools/bundled/inspector.html', ['location']],
  ['about:blank', 'file://' + file, ['location', 'new window', 'link', 'frame']], ['data:text/html,<body>data', 'file://' + file, ['location', 'frame']],
].flatMap(([start, to, list]) => list.map(way => ({ start, to, way })));

async function attempt({ start, to, way }) {
  const context = await browser.newContext();
  try {
    await context.route(site, route => route.fulfill({ contentType: 'text/html', body: '<title>site</title><body>' }));
    const page = await context.newPage();
    await page.goto(start);
    // Chromium says so when it keeps a page from an address, and ends a redirect with an error.
    const kept = way !== 'redirect' && page.waitForEvent('console', m => m.text().startsWith('Not allowed to load local resource: ' + to.slice(0, 15)));
    const failed = await ways[way](page, to).then(() => '', e => e.message);
    if (!kept && !/ERR_UNSAFE_REDIRECT|ERR_ABORTED/.test(failed)) throw new Error('no error of a redirect: ' + failed);
    await kept;
    for (const p of context.pages()) for (const frame of p.frames()) {
      if (frame.url().startsWith(to.slice(0, 6))) throw new Error('it is at ' + frame.url());
    }
    if (kept && (await page.content()).includes(secret)) throw new Error('it has the file');
  } finally {
    await context.close();
  }
}
// A few at once.
await Promise.all(Array.from({ length: 3 }, async () => {
  for (let c; (c = cases.shift());) {
    const name = `${c.way} from ${c.start.slice(0, 5)} to ${c.to.slice(0, 20)}`;
    await attempt(c).then(() => say({ name }), e => say({ name, error: e.message }));
  }
}));
await browser.close();
say({ name: 'end' });
process.exit(0);
