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
const show = async (page, color) => {
  await page.setContent(`<body style="margin: 0; background: ${color}">`);
  await page.screenshot(); // it has been drawn
};

// Plays a film in a page: its size, and the colour that its last picture has in the middle.
async function play(name) {
  const bytes = fs.readFileSync(name);
  check(bytes.subarray(0, 4).toString('hex'), '1a45dfa3'); // EBML, which WebM is made of
  if (bytes.length < 2 << 10) throw new Error(`the film has only ${bytes.length} bytes`);
  return screen.evaluate(async base64 => {
    const film = document.createElement('video');
    const event = name => new Promise((done, failed) => { film['on' + name] = done; film.onerror = () => failed(new Error(film.error.message)); });
    const loaded = event('loadeddata');
    film.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(base64), c => c.charCodeAt(0))], { type: 'video/webm' }));
    await loaded;
    const paper = new OffscreenCanvas(1, 1).getContext('2d');
    const color = async at => {
      const there = event('seeked');
      film.currentTime = at;
      await there;
      paper.drawImage(film, film.videoWidth / 2, film.videoHeight / 2, 1, 1, 0, 0, 1, 1);
      const [r, g, b] = paper.getImageData(0, 0, 1, 1).data;
      return r > 200 && g < 60 && b < 60 ? 'red' : b > 200 && r < 60 && g < 60 ? 'blue' : `rgb(${r}, ${g}, ${b})`;
    };
    return { width: film.videoWidth, height: film.videoHeight, end: await color(film.duration) };
  }, bytes.toString('base64'));
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
    await show(pages[1], 'blue');
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
    await show(screen, 'red');
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
