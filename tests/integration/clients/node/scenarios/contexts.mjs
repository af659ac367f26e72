// Contexts: what is set for them, what they keep, and what they grant.
import { devices } from 'playwright';

const facts = () => ({
  agent: navigator.userAgent, language: navigator.language, languages: navigator.languages, zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  number: (1234.5).toLocaleString(), date: new Date(0).toLocaleString(), width: innerWidth, height: innerHeight, ratio: devicePixelRatio,
  screen: [screen.width, screen.height], touch: navigator.maxTouchPoints, dark: matchMedia('(prefers-color-scheme: dark)').matches,
  still: matchMedia('(prefers-reduced-motion: reduce)').matches, forced: matchMedia('(forced-colors: active)').matches, contrast: matchMedia('(prefers-contrast: more)').matches,
  print: matchMedia('print').matches, online: navigator.onLine,
});
const permission = name => navigator.permissions.query({ name }).then(p => p.state, e => e.name);

async function seen(browser, options, site) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(site.url);
  const value = await page.evaluate(facts);
  await context.close();
  return value;
}

export default {
  'contexts are apart': async ({ browser, context, site }) => {
    const other = await browser.newContext();
    const value = [];
    for (const c of [context, other]) {
      const page = await c.newPage();
      await page.goto(site.url);
      value.push(await page.evaluate(() => [localStorage.length, document.cookie]));
      await page.evaluate(() => { localStorage.setItem('here', '1'); document.cookie = 'here=1'; });
    }
    value.push(browser.contexts().includes(other), (await other.cookies()).length);
    await other.close();
    return value;
  },
  'emulation': ({ browser, site }) => Promise.all([
    seen(browser, {}, site),
    seen(browser, { locale: 'de-DE', timezoneId: 'Asia/Tokyo', colorScheme: 'dark', reducedMotion: 'reduce', forcedColors: 'active', contrast: 'more' }, site),
    seen(browser, { viewport: { width: 2560, height: 1440 }, screen: { width: 3840, height: 2160 }, deviceScaleFactor: 2 }, site),
    seen(browser, { viewport: null }, site),
  ]),
  'devices': async ({ browser, site }) => {
    const value = [];
    for (const name of ['iPhone 15 Pro Max', 'iPad Pro 11 landscape', 'Pixel 7', 'Desktop Chrome HiDPI']) value.push(await seen(browser, devices[name], site));
    return value;
  },
  'emulation that changes': async ({ context, page, site }) => {
    const p = await page();
    await p.goto(site.url);
    const value = [];
    await p.emulateMedia({ media: 'print', colorScheme: 'dark', reducedMotion: 'reduce', forcedColors: 'none' });
    value.push(await p.evaluate(facts));
    await p.emulateMedia({ media: null, colorScheme: null });
    await p.setViewportSize({ width: 801, height: 602 });
    await context.setOffline(true);
    await p.waitForFunction(() => fetch('/data.json').then(() => false, () => true)); // the network service hears of it a moment later
    value.push(await p.evaluate(facts));
    await context.setOffline(false);
    await p.waitForFunction(() => fetch('/data.json').then(() => true, () => false));
    return value;
  },
  'geolocation and permissions': async ({ browser, site }) => {
    const context = await browser.newContext({ geolocation: { latitude: 48.2, longitude: 16.37, accuracy: 5 }, permissions: ['geolocation'] });
    const page = await context.newPage();
    await page.goto(site.url);
    const where = () => page.evaluate(() => new Promise(done => navigator.geolocation.getCurrentPosition(p => done([p.coords.latitude, p.coords.longitude, p.coords.accuracy]), e => done(e.code))));
    const value = [await where()];
    await context.setGeolocation({ latitude: -33, longitude: 151 });
    value.push(await where());
    await context.clearPermissions();
    for (const name of ['geolocation', 'notifications', 'camera', 'microphone', 'midi', 'storage-access', 'accelerometer', 'payment-handler', 'background-sync']) {
      const before = await page.evaluate(permission, name);
      await context.grantPermissions([name], { origin: site.url });
      value.push([name, before, await page.evaluate(permission, name)]);
    }
    await context.close();
    return value;
  },
  'cookies': async ({ context, page, site }) => {
    const p = await page();
    await p.goto(site.url + '/cookie');
    await context.addCookies([{ name: 'c', value: 'd', url: site.url }, { name: 'far', value: '1', domain: '.example.com', path: '/x', expires: Date.now() / 1000 + 1000, sameSite: 'None', secure: true }]);
    const list = async (...at) => (await context.cookies(...at)).map(c => ({ ...c, expires: c.expires > 0 }));
    const value = [await list(), await list('https://www.example.com/x'), await p.evaluate(() => document.cookie)];
    await context.clearCookies({ name: /^c$/ });
    value.push((await context.cookies()).map(c => c.name).sort());
    await context.clearCookies();
    value.push(await context.cookies());
    return value;
  },
  'storage state': async ({ browser, context, page, site, file }) => {
    const p = await page();
    await p.goto(site.url + '/cookie');
    await p.evaluate(async () => {
      localStorage.setItem('k', 'v');
      await new Promise((done, failed) => {
        const open = indexedDB.open('db', 1);
        open.onupgradeneeded = () => open.result.createObjectStore('things', { keyPath: 'id' }).put({ id: 7, text: 'kept', bytes: new Uint8Array([1, 2]) });
        open.onsuccess = () => { open.result.close(); done(); };
        open.onerror = failed;
      });
    });
    const state = await context.storageState({ path: file('state.json'), indexedDB: true });
    const again = await browser.newContext({ storageState: file('state.json') });
    const q = await again.newPage();
    await q.goto(site.url);
    const value = [state, await q.evaluate(() => [localStorage.getItem('k'), document.cookie]), await q.evaluate(() => new Promise(done => {
      const open = indexedDB.open('db');
      open.onsuccess = () => { const get = open.result.transaction('things').objectStore('things').get(7); get.onsuccess = () => done(get.result.text); };
    }))];
    await again.setStorageState({ cookies: [], origins: [{ origin: site.url, localStorage: [{ name: 'k', value: 'other' }] }] });
    await q.goto(site.url);
    value.push(await q.evaluate(() => localStorage.getItem('k')), await again.cookies());
    await q.localStorage.setItem('set', 'x');
    await q.sessionStorage.setItem('s', 'y');
    value.push(await q.localStorage.items(), await q.sessionStorage.getItem('s'));
    await again.close();
    return value;
  },
  'base URL, headers, credentials, scripts': async ({ browser, site }) => {
    const context = await browser.newContext({
      baseURL: site.url, extraHTTPHeaders: { 'x-one': '1' }, httpCredentials: { username: 'me', password: 'pass' }, userAgent: 'an agent', bypassCSP: true,
      ignoreHTTPSErrors: true, acceptDownloads: false, strictSelectors: true, javaScriptEnabled: true, serviceWorkers: 'block',
    });
    const page = await context.newPage();
    await page.setExtraHTTPHeaders({ 'x-two': '2' });
    await page.goto('/echo');
    const value = [JSON.parse(await page.textContent('body'))];
    await page.goto('/private');
    value.push(await page.title());
    const silent = await browser.newContext({ javaScriptEnabled: false });
    const quiet = await silent.newPage();
    await quiet.setContent('<noscript>no script</noscript><script>document.write("script")</script>');
    value.push(await quiet.innerText('body'));
    await silent.close();
    await context.close();
    return value;
  },
  'passkeys': async ({ context, page, site }) => {
    await context.credentials.install();
    const made = await context.credentials.create('localhost', { userHandle: 'dXNlcg' });
    const p = await page();
    await p.goto(site.url);
    const known = await context.credentials.get({ rpId: 'localhost' });
    await context.credentials.delete(made.id);
    return [made.rpId, known.length, known[0].id === made.id, (await context.credentials.get()).length];
  },
};
