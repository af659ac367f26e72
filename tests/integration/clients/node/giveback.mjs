// What a page gives back or makes the browser draw is more than a shared one takes, beside a neighbour's session: `node
// giveback.mjs <url>`. One line of JSON on stdout for each step: {name} or {name, error}.
import { chromium } from 'playwright';

const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const check = (got, want) => { if (got !== want) throw new Error(`got ${got}, want ${want}`); };
const MiB = 1 << 20;

const [neighbour, browser] = [await chromium.connect(process.argv[2]), await chromium.connect(process.argv[2])];
const theirs = await (await neighbour.newContext()).newPage();
await theirs.setContent('<title>neighbour</title>');
const context = await browser.newContext();
const page = await context.newPage();

async function fails(call, why) {
  const error = await call.then(() => 'nothing', e => e.message);
  if (!why.test(error)) throw new Error(`failed with ${error.slice(0, 500)}`);
}
const fill = (page, width, height) => page.setContent(`<body style="margin: 0"><div style="width: ${width}px; height: ${height}px; background: linear-gradient(red, blue)">`);
const sides = png => `${png.readUInt32BE(16)} × ${png.readUInt32BE(20)}`;

const steps = {
  'a result of 30 MiB': async () => check(await page.evaluate(n => 'x'.repeat(n), 30 * MiB).then(s => s.length), 30 * MiB),
  'a result of 30,000 objects': async () => check(await page.evaluate(() => Array(3e4).fill({}).map(() => ({}))).then(a => a.length), 3e4),
  'a message of 900 KiB': async () => {
    const [message] = await Promise.all([page.waitForEvent('console'), page.evaluate(n => console.log('x'.repeat(n)), 900 << 10)]);
    check(message.text().length, 900 << 10);
  },
  'a picture of a long page': async () => {
    await fill(page, 1280, 20_000);
    check(sides(await page.screenshot({ fullPage: true })), '1280 × 20000');
  },
  // JSON makes 516 MiB of it, which fit in no string of Node's.
  'a result that JSON makes six times as long': () => fails(page.evaluate(n => '\x01'.repeat(n), 86 * MiB), /RangeError: What the page gives back is larger than 64 MiB, .* Return less/),
  'a result by CDP': async () => {
    const cdp = await context.newCDPSession(page);
    await fails(cdp.send('Runtime.getProperties', {
      objectId: (await cdp.send('Runtime.evaluate', { expression: `({ a: 'x'.repeat(${65 * MiB}) })` })).result.objectId,
    }), /Protocol error \(Runtime.getProperties\): What the page gives back is larger than 64 MiB/);
    await cdp.detach();
  },
  'a result of many values': () => fails(page.evaluate(() => Array(11e5).fill(0)), /has more than 1,000,000 values/),
  'a message to the console': async () => {
    const seen = [];
    page.on('console', m => seen.push(m.text().length));
    await page.evaluate(n => { console.log('x'.repeat(n)); console.log('after'); }, 2 * MiB);
    await page.evaluate('0');
    check(seen.join(), '5');
  },
  'a call of a binding': async () => {
    const seen = [];
    await page.exposeFunction('tell', text => { seen.push(text.length); });
    await page.evaluate(n => { tell('x'.repeat(n)); return tell('after'); }, 65 * MiB);
    check(seen.join(), '5');
  },
  'a picture of a huge page': async () => {
    await fill(page, 30_000, 30_000);
    await fails(page.screenshot({ fullPage: true }), /30000 × 30000 pixels are too many: a picture may have 80 million/);
    check(sides(await page.screenshot()), '1280 × 720');
  },
  'a picture of a huge element': () => fails(page.locator('div').screenshot(), /30000 × 30000 pixels are too many/),
  'a picture beyond the viewport by CDP': async () => {
    const cdp = await context.newCDPSession(page);
    await fails(cdp.send('Page.captureScreenshot', { captureBeyondViewport: true }), /needs a clip where a browser is shared/);
    await cdp.send('Page.captureScreenshot', { captureBeyondViewport: true, clip: { x: 0, y: 0, width: 10, height: 800, scale: 1 } });
    await cdp.send('Page.captureScreenshot');
  },
  'a picture of a page that is huge by its scale': async () => {
    const sharp = await browser.newContext({ viewport: { width: 300, height: 200 }, deviceScaleFactor: 4 });
    const page = await sharp.newPage();
    await fill(page, 3000, 3000);
    await fails(page.screenshot({ fullPage: true }), /12000 × 12000 pixels are too many/);
    check(sides(await page.screenshot({ fullPage: true, scale: 'css' })), '3000 × 3000');
    await sharp.close();
  },
};

for (const [name, step] of Object.entries(steps)) {
  try {
    const going = step().then(() => undefined, e => e);
    check(await theirs.title(), 'neighbour'); // meanwhile
    const error = await going;
    if (error) throw error;
    check(await page.evaluate('6 * 7'), 42);
    check(await theirs.title(), 'neighbour');
    say({ name });
  } catch (e) {
    say({ name, error: e.message.slice(0, 500) });
  }
}
say({ name: 'both go on', error: neighbour.isConnected() && browser.isConnected() ? undefined : 'they do not' });
await neighbour.close();
await browser.close();
say({ name: 'end' });
process.exit(0);
