// What sessions learn of what others have copied: `node clipboard.mjs <url> own|share`. With own, nothing of it is found by any way
// that there is, and each session pastes what it has copied itself; with share, the ways are shown to lead there. One line of
// JSON on stdout for each: {name} or {name, error}.
import { chromium } from 'playwright';

const [url, what] = process.argv.slice(2);
const own = what === 'own';
const say = (name, error) => process.stdout.write(JSON.stringify({ name, error }) + '\n');
const step = (name, run) => run().then(() => say(name), e => say(name, e.stack));
const check = (got, want) => { if (got !== want) throw new Error(`got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`); };

const copyAll = `const r = document.createRange(); r.selectNodeContents(document.querySelector('p')); getSelection().removeAllRanges(); getSelection().addRange(r); document.execCommand('copy')`;
const content = `<input><textarea></textarea><p>some <b>bold</b> text</p><div contenteditable></div><button onclick="${copyAll}">copy</button>`;
async function pageOf(browser, options) {
  const context = await browser.newContext(options);
  // A secure context, which alone has the clipboard's interface.
  await context.route('https://*.test/**', route => route.fulfill({ contentType: 'text/html', body: content }));
  const page = await context.newPage();
  await page.goto('https://site.test/');
  return { context, page };
}
async function copy(page, text) {
  await page.fill('input', text);
  await page.locator('input').selectText();
  await page.keyboard.press('Control+C');
}
async function paste(page, key = 'Control+V', into = 'textarea') {
  const field = page.locator(into);
  await field.fill('');
  await field.focus();
  await page.keyboard.press(key);
  return field.evaluate(e => e.value ?? e.innerHTML);
}
const read = page => page.evaluate(() => navigator.clipboard.readText().then(t => t, e => e.name));

const [victim, other] = await Promise.all([chromium.connect(url), chromium.connect(url)]);
const { page: theirs } = await pageOf(victim);
const { context, page } = await pageOf(other);
const cdp = await context.newCDPSession(page);
const key = params => cdp.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', ...params });

let secrets = 0;
// Each returns what it has got.
const field = () => page.locator('textarea').inputValue();
const ways = {
  'Control+V': () => page.keyboard.press('Control+V').then(field),
  'Control+Shift+V': () => page.keyboard.press('Control+Shift+V').then(field),
  'Shift+Insert': () => page.keyboard.press('Shift+Insert').then(field),
  'ControlOrMeta+KeyV': () => page.keyboard.press('ControlOrMeta+KeyV').then(field),
  'press of a locator': () => page.locator('textarea').press('Control+V').then(field),
  'press of a handle': async () => (await page.$('textarea')).press('Control+V').then(field),
  'keys that are held': async () => {
    await page.keyboard.down('Control');
    await page.keyboard.down('v');
    await page.keyboard.up('v');
    await page.keyboard.up('Control');
    return field();
  },
  'key by CDP': () => key({ windowsVirtualKeyCode: 86, modifiers: 2 }).then(field),
  'key down by CDP': () => key({ type: 'keyDown', windowsVirtualKeyCode: 86, modifiers: 2, text: 'v' }).then(field),
  'key with more bits': () => key({ windowsVirtualKeyCode: 86 + (1 << 16), modifiers: 2 }).then(field),
  'modifiers with more bits': () => key({ windowsVirtualKeyCode: 86, modifiers: 18 }).then(field),
  'command': () => key({ key: 'x', commands: ['Paste'] }).then(field),
  'command in small letters': () => key({ key: 'x', commands: ['pasteandmatchstyle'] }).then(field),
  'command of a character': () => key({ type: 'char', text: 'q', commands: ['paste'] }).then(field),
  'system key': () => key({ windowsVirtualKeyCode: 86, modifiers: 2, isSystemKey: true }).then(field),
  'handler of the page': async () => {
    await page.evaluate(() => {
      window.got = '';
      document.querySelector('textarea').addEventListener('paste', e => { window.got += e.clipboardData.getData('text/plain'); }, { once: true });
    });
    await page.keyboard.press('Control+V');
    return page.evaluate(() => window.got);
  },
  'frame': async () => {
    await page.evaluate(() => { document.body.append(Object.assign(document.createElement('iframe'), { src: 'https://other.test/' })); });
    const inner = page.frameLocator('iframe').locator('textarea');
    await inner.click();
    await page.keyboard.press('Control+V');
    const got = await inner.inputValue();
    await page.goto('https://site.test/');
    return got;
  },
  'permission': async () => {
    await context.grantPermissions(['clipboard-read']);
    return read(page);
  },
  'permission of an origin': async () => {
    await context.clearPermissions();
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: 'https://site.test' });
    return page.evaluate(async () => {
      const [item] = await navigator.clipboard.read();
      return item ? (await item.getType('text/plain')).text() : '';
    });
  },
  // What stands in for the browser's own is not in the way here.
  'method from before the permission': async () => {
    const late = await pageOf(other);
    await late.page.evaluate(() => { window.kept = navigator.clipboard.readText.bind(navigator.clipboard); });
    await late.context.grantPermissions(['clipboard-read']);
    const got = await late.page.evaluate(() => window.kept().catch(e => e.name));
    await late.context.close();
    return got;
  },
  'permission with the context': async () => {
    const granted = await pageOf(other, { permissions: ['clipboard-read'] });
    const got = await read(granted.page);
    await granted.context.close();
    return got;
  },
};
// These lead nowhere even in a clipboard that is shared.
const deadEnds = {
  'middle button': () => page.locator('textarea').click({ button: 'middle' }).then(field),
  'Meta+V': () => page.keyboard.press('Meta+V').then(field),
  'script': () => read(page),
  'script at a click': async () => {
    await page.evaluate(() => {
      document.querySelector('button').onclick = () => {
        const into = document.querySelector('textarea');
        into.focus();
        const took = document.execCommand('paste');
        navigator.clipboard.readText().then(t => t, e => e.name).then(r => { window.got = [took, into.value, r].join(); });
      };
    });
    await page.click('button');
    await page.waitForFunction('window.got');
    return page.evaluate('window.got');
  },
};

async function attack(name, run, crosses) {
  await step(name, async () => {
    const secret = `secret ${++secrets} of the victim`;
    await copy(theirs, secret);
    await page.fill('textarea', '');
    const got = await run().catch(e => { if (/would paste what other|no key with its/.test(e.message)) return 'refused'; throw e; });
    check(String(got).includes(secret), crosses);
    if (own) check(await paste(theirs), secret);
  });
}
if (own) for (const [name, run] of Object.entries(deadEnds)) await attack(name, run, false);
for (const [name, run] of Object.entries(ways)) await attack(name, run, !own);

// All keys with the modifiers that matter; some of them copy.
if (own)
  await step('every key', async () => {
    await context.clearPermissions();
    await page.goto('https://site.test/');
    await page.evaluate(() => {
      window.got = '';
      addEventListener('paste', e => { window.got += e.clipboardData.getData('text/plain'); });
    });
    await page.locator('textarea').focus();
    for (const modifiers of [2, 8, 10]) {
      const codes = Array.from({ length: 255 }, (_, i) => i + 1).filter(code => ![45, 46, 67, 88].includes(code)); // which copy
      await Promise.all(codes.map(windowsVirtualKeyCode => key({ windowsVirtualKeyCode, modifiers })));
    }
    check(await page.evaluate('got'), '');
    check(await paste(theirs), `secret ${secrets} of the victim`);
  });

// What a script does inside its own session goes on, beside others that do the same.
const ordinary = {
  'copy and paste': async (mine, name) => {
    await copy(mine, name);
    check(await paste(mine), name);
    check(await paste(mine, 'Shift+Insert'), name);
  },
  'cut and paste': async (mine, name) => {
    await mine.fill('input', name);
    await mine.locator('input').selectText();
    await mine.keyboard.press('Control+X');
    check(await mine.inputValue('input'), '');
    check(await paste(mine), name);
  },
  'paste with format and without': async mine => {
    await mine.locator('p').selectText();
    await mine.keyboard.press('Control+C');
    check(await paste(mine, 'Control+V', 'div'), 'some <b>bold</b> text');
    check(await paste(mine, 'Control+Shift+V', 'div'), 'some bold text');
    check(await paste(mine), 'some bold text');
  },
  'a button that copies': async (mine, name) => {
    await mine.evaluate(text => { document.querySelector('p').textContent = text; }, name);
    await mine.click('button');
    check(await paste(mine), name);
    await mine.setContent(content);
    await mine.evaluate(text => { document.querySelector('p').textContent = text; }, name + ' again');
    await mine.click('button');
    check(await paste(mine), name + ' again');
    await mine.goto('https://site.test/');
  },
  'handlers of the page': async (mine, name) => {
    await mine.evaluate(text => {
      window.seen = [];
      for (const type of ['keydown', 'paste', 'beforeinput', 'input']) addEventListener(type, e => window.seen.push(`${type} ${e.key ?? e.clipboardData?.getData('a/b') ?? e.inputType}`));
      addEventListener('copy', e => {
        e.preventDefault();
        e.clipboardData.setData('text/plain', text);
        e.clipboardData.setData('a/b', text + '!');
      }, { once: true });
    }, name);
    await mine.keyboard.press('Control+C');
    await mine.evaluate('seen.length = 0');
    await mine.locator('textarea').focus();
    await mine.keyboard.press('Control+V');
    check(await mine.inputValue('textarea'), name);
    check(await mine.evaluate('seen.slice(0, 4).join()'), `keydown Control,keydown V,paste ${name}!,beforeinput insertFromPaste`);
    for (const type of ['keydown', 'paste', 'beforeinput']) {
      await mine.goto('https://site.test/');
      await mine.evaluate(type => addEventListener(type, e => e.preventDefault()), type);
      await mine.locator('textarea').focus();
      await mine.keyboard.press('Control+V');
      check(await mine.inputValue('textarea'), '');
    }
    await mine.goto('https://site.test/');
  },
  'a frame, and from one page to another': async (mine, name) => {
    await copy(mine, name);
    await mine.evaluate(() => { document.body.append(Object.assign(document.createElement('iframe'), { src: 'https://other.test/' })); });
    const inner = mine.frameLocator('iframe');
    await inner.locator('textarea').click();
    await mine.keyboard.press('Control+V');
    check(await inner.locator('textarea').inputValue(), name);
    await inner.locator('textarea').fill(name + ' of the frame');
    await inner.locator('textarea').selectText();
    await mine.keyboard.press('Control+C');
    const second = await mine.context().newPage();
    await second.setContent(content);
    check(await paste(second), name + ' of the frame');
    await second.close();
    await mine.goto('https://site.test/');
  },
  'the interface of pages': async (mine, name) => {
    check(await read(mine), 'NotAllowedError');
    await mine.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: 'https://site.test' });
    const state = () => mine.evaluate(async () => (await navigator.permissions.query({ name: 'clipboard-read' })).state);
    check(await state(), 'granted');
    await mine.evaluate(text => navigator.clipboard.writeText(text), name);
    check(await read(mine), name);
    check(await paste(mine), name);
    await copy(mine, name + ' by a key');
    check(await read(mine), name + ' by a key');
    await mine.evaluate(() => navigator.clipboard.write([new ClipboardItem({ 'text/plain': 'plain', 'text/html': '<i>rich</i>' })]));
    check(await mine.evaluate(async () => {
      const [item] = await navigator.clipboard.read();
      return `${item.types} ${await (await item.getType('text/html')).text()}`;
    }), 'text/plain,text/html <i>rich</i>');
    await mine.goto('https://other.test/');
    check(await read(mine), 'NotAllowedError');
    await mine.context().clearPermissions();
    await mine.goto('https://site.test/');
    check(await read(mine), 'NotAllowedError');
    const granted = await pageOf(other, { permissions: ['clipboard-read'] });
    await copy(granted.page, name);
    check(await read(granted.page), name);
    check(await granted.page.evaluate(() => navigator.clipboard.writeText('x').catch(e => e.name)), 'NotAllowedError');
    await granted.context.close();
  },
};
if (own) {
  const [one, two] = await Promise.all([pageOf(other), pageOf(victim)]);
  for (const [name, run] of Object.entries(ordinary)) await step(name, () => Promise.all([run(one.page, 'one'), run(two.page, 'two')]));
}
await Promise.all([victim.close(), other.close()]);
say('end');
process.exit(0);
