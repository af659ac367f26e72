// Calls near the most that one message may have, and above it, beside a neighbour's session: `node large.mjs <url> [all]`. Without
// all it is the one that the browser takes no part in, which would need half a minute. One line of JSON on stdout for
// each step: {name} or {name, error}.
import { chromium } from 'playwright';

const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const check = (got, want) => { if (got !== want) throw new Error(`got ${got}, want ${want}`); };
const MiB = 1 << 20;

const [neighbour, browser] = [await chromium.connect(process.argv[2]), await chromium.connect(process.argv[2])];
const theirs = await (await neighbour.newContext()).newPage();
await theirs.setContent('<title>neighbour</title>');
const page = await (await browser.newContext()).newPage();
const text = n => 'x'.repeat(n * MiB);
const route = async n => {
  let why;
  await page.route('**/large', route => route.fulfill({ body: text(n) }).catch(e => { why = e; return route.abort(); }));
  const got = await page.evaluate(() => fetch('http://example.com/large').then(r => r.text()).then(t => t.length, String));
  await page.unroute('**/large');
  if (why) throw why;
  return got / MiB;
};
// A piece of an uploaded file, which a page then has; base64 makes four bytes of three.
const write = async n => {
  const { writableStreams } = await page.context()._channel.createTempFiles({ items: [{ name: 'x' }] });
  await writableStreams[0].write({ binary: Buffer.alloc(n * MiB * 3 / 4, 'x') });
  await writableStreams[0].close({});
  await page.setContent('<input type=file>');
  await page.mainFrame()._channel.setInputFiles({ selector: 'input', streams: [writableStreams[0]], timeout: 60_000 });
  return page.evaluate(() => document.querySelector('input').files[0].size).then(l => l / MiB * 4 / 3);
};
// What passes and what does not, in MiB, and a call that returns how much has arrived.
const calls = { 'WritableStream.write': [95, 97, write] };
if (process.argv[3] === 'all') Object.assign(calls, {
  'evaluate': [95, 97, n => page.evaluate(t => t.length, text(n)).then(l => l / MiB)],
  'setContent': [90, 110, async n => {
    await page.setContent(`<title>mine</title><!--${text(n)}-->`);
    return page.evaluate(() => document.documentElement.outerHTML.length).then(l => Math.floor(l / MiB));
  }],
  'addScriptTag': [90, 97, async n => {
    await page.addScriptTag({ content: `/*${text(n)}*/ done = ${n}` });
    return page.evaluate('done');
  }],
  'route.fulfill': [71, 73, route],
});
await page.goto('http://example.com/');
for (const [name, [most, above, call]] of Object.entries(calls)) {
  // While the large message is under way the neighbour works.
  const during = async n => {
    const going = call(n).then(got => ({ got }), error => ({ error }));
    check(await theirs.title(), 'neighbour');
    const done = await going;
    check(await theirs.title(), 'neighbour');
    return done;
  };
  try {
    const { got, error } = await during(most);
    check(error?.message, undefined);
    check(got, most);
    say({ name: `${name} of ${most} MiB` });
  } catch (e) {
    say({ name: `${name} of ${most} MiB`, error: e.message.slice(0, 500) });
  }
  try {
    const { error } = await during(above);
    if (!/The pool refuses \w+\.\w+: \d+ bytes are more than the \d+ that a shared browser takes of such calls\. Send less at once, or serve it over http\./.test(error?.message)) throw new Error(`not refused: ${error?.message.slice(0, 500)}`);
    check(await page.evaluate('6 * 7'), 42);
    say({ name: `${name} of ${above} MiB` });
  } catch (e) {
    say({ name: `${name} of ${above} MiB`, error: e.message.slice(0, 500) });
  }
}
say({ name: 'the neighbour goes on', error: await theirs.title() === 'neighbour' && neighbour.isConnected() ? undefined : 'it does not' });
await neighbour.close();
await browser.close();
say({ name: 'end' });
process.exit(0);
