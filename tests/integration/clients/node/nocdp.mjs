// A session where CDP sessions are refused altogether: `node nocdp.mjs <url>`. One line of JSON on stdout for each step: {name}
// or {name, error}.
import { chromium } from 'playwright';

const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const step = async (name, run) => say({ name, error: await run().catch(e => e.stack) });
const want = 'The pool refuses BrowserContext.newCDPSession: This pool serves no CDP sessions (guard.cdp is refuse). Use Playwright\'s own calls instead.';
const check = (got, want) => { if (got !== want) throw new Error(`got ${got}, want ${want}`); };

const browser = await chromium.connect(process.argv[2]);
const context = await browser.newContext(), page = await context.newPage();
await page.goto('http://example.com/');
const refused = async call => {
  const got = await call().then(() => 'done', e => `${e.name}: ${e.message}`);
  check(got, `Error: browserContext.newCDPSession: ${want}`);
  check(await page.evaluate('6 * 7'), 42);
};

await step('of a page', () => refused(() => context.newCDPSession(page)));
await step('of a frame', async () => {
  await page.setContent('<iframe srcdoc="inside"></iframe>');
  await refused(() => context.newCDPSession(page.frames()[1]));
});
// Beside other calls that are under way, each of which has its own end.
await step('among other calls', async () => {
  const all = await Promise.allSettled([page.evaluate('1'), context.newCDPSession(page), page.evaluate('2'), context.newCDPSession(page), page.title()]);
  check(all.map(r => r.status).join(), 'fulfilled,rejected,fulfilled,rejected,fulfilled');
});
await step('a method without a session', async () => {
  const mine = browser._connection, dispatch = mine.dispatch.bind(mine);
  const answer = await new Promise(done => {
    mine.dispatch = message => message.id === 1_000_000 ? done(message) : dispatch(message);
    mine.onmessage({ id: 1_000_000, guid: 'cdp-session@1', method: 'send', params: { method: 'Page.enable' }, metadata: {} });
  });
  check(answer.error.error.message, want.replace('BrowserContext.newCDPSession', 'CDPSession.send'));
});
// What Playwright itself does by CDP is not refused.
await step('the session goes on', async () => {
  await page.coverage.startJSCoverage();
  await page.goto('http://example.com/');
  await page.coverage.stopJSCoverage();
  await page.emulateMedia({ colorScheme: 'dark' });
  const other = await browser.newContext();
  await (await other.newPage()).goto('http://example.com/');
  await other.close();
  check(await page.title(), 'Example Domain');
});
await browser.close();
say({ name: 'end' });
process.exit(0);
