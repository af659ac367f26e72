// Measures sessions of a stock Playwright client. One JSON object as the argument says what:
//   {"what": "pages", "endpoints": {name: url, …}, "count": n}   n whole sessions and 2 n first pages, the endpoints taking turns
//   {"what": "connects", "endpoints": {name: url, …}, "count": n}   n connections and no more, the same way
//   {"what": "steady", "endpoint": url, "sides": [n, …], "sessions": s, "turns": t}   s sessions by n clients, the sides taking turns
// The answer is one JSON object on stdout.
import { cpus } from 'node:os';
import { chromium } from 'playwright';

// Needs no network, so that it measures the way to the browser and not the way from there.
const address = 'data:text/html,<title>bench</title><input id=word><button onclick="document.title=word.value">go</button>';

// One session: when it was connected, when its first page was there, and when all was done, in milliseconds.
async function session(url, whole) {
  const begin = performance.now();
  const browser = await chromium.connect(url);
  try {
    const connected = performance.now();
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(address);
    const firstPage = performance.now();
    if (whole) {
      for (let i = 0; i < 10; i++) {
        await page.fill('#word', `value ${i}`);
        await page.click('button');
        if (await page.title() !== `value ${i}`) throw new Error('the page has another title');
      }
      await page.screenshot();
    }
    await context.close();
    const took = { connect: connected - begin, firstPage: firstPage - begin };
    return whole ? { ...took, whole: performance.now() - begin } : took;
  } finally {
    await browser.close();
  }
}

const median = values => values.sort((a, b) => a - b)[values.length >> 1];

function shuffled(list) {
  const all = [...list];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  return all;
}

// What a session leaves to do, such as a page that a worker prepares for the next one, is not to be paid by whoever comes then.
const rest = () => new Promise(done => setTimeout(done, 400));

async function pages({ endpoints, count }) {
  const all = {};
  for (const name in endpoints) all[name] = { connect: [], firstPage: [], whole: [] };
  const names = Object.keys(endpoints);
  // The first ones warm everything up and do not count. One in three is a whole script, which takes far
  // longer than a first page, and differs less.
  for (let i = -3; i < 3 * count; i++) {
    // By chance: who comes after whom shows in the figures, and a fixed order makes that a difference between them.
    for (const name of shuffled(names)) {
      await rest();
      const took = await session(endpoints[name], i % 3 === 0);
      if (i >= 0) for (const part in took) all[name][part].push(took[part]);
    }
  }
  for (const name in all) for (const part in all[name]) all[name][part] = median(all[name][part]);
  return all;
}

async function connects({ endpoints, count }) {
  const all = {};
  for (const name in endpoints) all[name] = [];
  for (let i = -5; i < count; i++) { // the first ones warm everything up
    for (const name of shuffled(Object.keys(endpoints))) {
      const begin = performance.now();
      const browser = await chromium.connect(endpoints[name]);
      if (i >= 0) all[name].push(performance.now() - begin);
      await browser.close();
    }
  }
  for (const name in all) all[name] = median(all[name]);
  return all;
}

// Each turn begins and ends with no session, so none is cut in two by its edges. The sides follow each other
// closely, in one process that is warm, because what a session costs the machine changes within seconds.
async function steady({ endpoint, sides, sessions, turns }) {
  const all = sides.map(clients => ({ clients, failed: [], turns: [] }));
  for (let i = -1; i < turns; i++) { // the first one warms everything up
    for (const side of shuffled(all)) {
      const took = await turn(endpoint, side.clients, sessions, side.failed);
      if (i >= 0) side.turns.push(took);
    }
  }
  return all;
}

async function turn(endpoint, clients, sessions, failed) {
  let left = sessions;
  const begin = performance.now(), before = processors();
  await Promise.all(Array.from({ length: clients }, async () => {
    while (left-- > 0) {
      try {
        await session(endpoint, false);
      } catch (error) {
        failed.push(error.message);
      }
    }
  }));
  const seconds = (performance.now() - begin) / 1000, after = processors();
  return { seconds, busy: (after.busy - before.busy) / 1000, idle: (after.idle - before.idle) / 1000 };
}

// What all processors together have done since the machine's start, in milliseconds.
function processors() {
  const sum = { busy: 0, idle: 0 };
  for (const { times } of cpus()) {
    sum.busy += times.user + times.nice + times.sys + times.irq;
    sum.idle += times.idle;
  }
  return sum;
}

const { what, ...args } = JSON.parse(process.argv[2]);
console.log(JSON.stringify(await { pages, connects, steady }[what](args)));
process.exit(0);
