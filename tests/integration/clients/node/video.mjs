// Videos of pages: `node video.mjs <url> records|none <scratch folder of the worker>`. With `records` the worker has an ffmpeg,
// with `none` it has not. One line of JSON on stdout for each step: {name} or {name, error}.
import { chromium } from 'playwright';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const [url, what, worker] = process.argv.slice(2);
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'video-'));
const file = name => path.join(dir, name);
const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const check = (got, want) => { if (got !== want) throw new Error(`got ${got}, want ${want}`); };
const size = { width: 320, height: 240 };
const failure = promise => promise.then(() => 'no error', e => e.message);

const browser = await chromium.connect(url);
const plain = await browser.newContext(); // goes on through all of it
const screen = await plain.newPage();

// The films that are on the worker's disk.
const within = (folder, name) => fs.readdirSync(folder).filter(n => name.test(n)).map(n => path.join(folder, n));
function onDisk() {
  let found = [worker];
  for (const name of [/^pwdist-worker-/, /^\d+$/, /^tmp$/, /^playwright-artifacts-/, /\.webm$/]) found = found.flatMap(folder => within(folder, name));
  return found;
}

const film = async (name, options = {}) => browser.newContext({ viewport: size, recordVideo: { dir: file(name), size, ...options } });
// What a picture or a film has in its middle.
await screen.evaluate(() => {
  window.middle = (image, width, height) => {
    const paper = new OffscreenCanvas(1, 1).getContext('2d');
    paper.drawImage(image, width / 2, height / 2, 1, 1, 0, 0, 1, 1);
    const [r, g, b, a] = paper.getImageData(0, 0, 1, 1).data;
    return a < 255 ? '' : r > 200 && g < 60 && b < 60 ? 'red' : b > 200 && r < 60 && g < 60 ? 'blue' : `rgb(${r}, ${g}, ${b})`;
  };
  window.bytes = base64 => Uint8Array.from(atob(base64), c => c.charCodeAt(0));
});

// Text all over the page, of which a film becomes as long as one of an ordinary page, and a color in the middle.
const text = Array.from({ length: 2000 }, (_, i) => String.fromCharCode(97 + (i * i * 7 + i) % 26)).join('');
const pageOf = color => `<body style="font: 9px monospace; overflow-wrap: anywhere; margin: 0">${text}<div style="position: fixed; inset: 60px; background: ${color}">`;

// Returns when the browser has given such a picture of the page to whoever watches or films it.
async function show(page, color) {
  let done;
  const shown = new Promise(resolve => { done = resolve; });
  await page.screencast.start({ onFrame: async frame => {
    const got = await screen.evaluate(async base64 => {
      const picture = await createImageBitmap(new Blob([bytes(base64)]));
      return middle(picture, picture.width, picture.height);
    }, frame.data.toString('base64'));
    if (got === color) done();
  } });
  await page.setContent(pageOf(color));
  // A browser that is behind leaves pictures out, the last one of a page that stands still among them.
  const paint = setInterval(() => page.evaluate(() => { document.body.style.paddingBottom = `${Math.random()}px`; }).catch(() => {}), 250);
  const late = setTimeout(() => { throw new Error(`no picture of the page is ${color}`); }, 60_000);
  await shown;
  clearInterval(paint);
  clearTimeout(late);
  await page.screencast.stop();
}

// Plays a film in a page: its size, and what its last picture shows.
async function play(name) {
  const film = fs.readFileSync(name);
  check(film.subarray(0, 4).toString('hex'), '1a45dfa3'); // EBML, which WebM is made of
  if (film.length < 4 << 10) throw new Error(`the film has only ${film.length} bytes`);
  return screen.evaluate(async base64 => {
    const film = document.createElement('video');
    const event = name => new Promise((done, failed) => { film['on' + name] = done; film.onerror = () => failed(new Error(film.error.message)); });
    const loaded = event('loadeddata');
    film.src = URL.createObjectURL(new Blob([bytes(base64)], { type: 'video/webm' }));
    await loaded;
    const there = event('seeked');
    film.currentTime = film.duration;
    await there;
    let end;
    do await new Promise(requestAnimationFrame); // on a busy machine the picture comes later than the event
    while (!(end = middle(film, film.videoWidth, film.videoHeight)));
    return { width: film.videoWidth, height: film.videoHeight, end };
  }, film.toString('base64'));
}

const steps = what === 'records' ? {
  'a film shows the page': async () => {
    const context = await film('a');
    const page = await context.newPage();
    await show(page, 'red');
    await show(page, 'blue');
    const video = page.video();
    const saved = video.saveAs(file('a.webm')); // is delivered once the context is closed
    await context.close();
    await saved;
    check(onDisk().length, 1);
    check(JSON.stringify(await play(file('a.webm'))), JSON.stringify({ ...size, end: 'blue' }));
    await video.saveAs(file('again.webm'));
    check(fs.readFileSync(file('again.webm')).equals(fs.readFileSync(file('a.webm'))), true);
    await video.delete();
    check(onDisk().length, 0);
    check(fs.existsSync(file('a')), false); // the folder is the client's to name, not the server's to make
    check((await failure(video.path())).includes('saveAs()'), true);
  },
  'each page has its own': async () => {
    const context = await film('each');
    const colors = ['red', 'blue'];
    const pages = await Promise.all(colors.map(async color => {
      const page = await context.newPage();
      await show(page, color);
      return page;
    }));
    await pages[0].close(); // ends its film
    await pages[0].video().saveAs(file('red.webm'));
    await context.close();
    await pages[1].video().saveAs(file('blue.webm'));
    for (const color of colors) check((await play(file(color + '.webm'))).end, color);
  },
  'a folder on the worker is not written': async () => {
    const folder = path.join(worker, 'named-by-a-client');
    const { context } = await browser._channel.newContext({ viewport: size, recordVideo: { dir: folder, size } });
    const before = onDisk().length;
    await context.newPage();
    await context.close({});
    check(onDisk().length, before + 1); // it is where all are
    check(fs.existsSync(folder), false);
  },
  'the client leaves while it films': async () => {
    const page = await (await film('left')).newPage();
    await show(page, 'red');
    check(await screen.evaluate('6 * 7'), 42);
  },
} : {
  'the page that would be filmed fails': async () => {
    const context = await film('none');
    const error = await failure(context.newPage());
    if (!/^browserContext.newPage: Executable doesn't exist at .*ffmpeg/.test(error)) throw new Error(error);
    await context.close();
    check(onDisk().length, 0);
  },
  'the session goes on': async () => {
    const page = await (await browser.newContext()).newPage();
    check(await page.evaluate('6 * 7'), 42);
    await page.screencast.start({ onFrame: () => {} }); // which is no film
    await page.screencast.stop();
  },
};
for (const [name, run] of Object.entries(steps)) await run().then(() => say({ name }), e => say({ name, error: e.stack }));
await browser.close();
fs.rmSync(dir, { recursive: true });
say({ name: 'end' });
process.exit(0);
