// A stock Playwright client that does what it is told: one JSON object per line on stdin, {id, op, ...}, and one
// answer per line on stdout, {id, value} or {id, error}, in whatever order they come. What an operation makes
// (browser, context, page) is kept under a number, its handle. A browser that disconnects is told by {lost: handle}.
import readline from 'node:readline';
import { chromium, firefox, webkit } from 'playwright';

const types = { chromium, firefox, webkit };
const things = new Map();
let last = 0;

const say = message => process.stdout.write(JSON.stringify(message) + '\n');

function keep(thing) {
  things.set(++last, thing);
  return last;
}

function keepBrowser(browser) {
  const handle = keep(browser);
  browser.on('disconnected', () => say({ lost: handle }));
  if (!browser.isConnected()) say({ lost: handle });
  return { handle, version: browser.version() };
}

const ops = {
  connect: async ({ browser, url, options }) => keepBrowser(await types[browser].connect(url, options)),
  connectOverCDP: async ({ url, options }) => keepBrowser(await chromium.connectOverCDP(url, options)),
  contexts: async ({ on }) => things.get(on).contexts().length,
  newContext: async ({ on, options }) => keep(await things.get(on).newContext(options)),
  newPage: async ({ on }) => keep(await things.get(on).newPage()),
  goto: async ({ on, url, timeout }) => { await things.get(on).goto(url, { timeout }); },
  title: async ({ on }) => things.get(on).title(),
  evaluate: async ({ on, expression }) => (await things.get(on).evaluate(expression)) ?? null,
  addCookies: async ({ on, cookies }) => { await things.get(on).addCookies(cookies); },
  cookies: async ({ on }) => things.get(on).cookies(),
  close: async ({ on }) => { await things.get(on).close(); },

  // A whole short session, as a script of a user would have it.
  visit: async ({ browser, url, options, page: address }) => {
    const b = await types[browser].connect(url, options);
    try {
      const context = await b.newContext();
      const page = await context.newPage();
      await page.goto(address);
      return await page.title();
    } finally {
      await b.close();
    }
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { id, op, ...args } = JSON.parse(line);
  ops[op](args).then(value => say({ id, value }), error => say({ id, error: error.message }));
}
process.exit(0);
