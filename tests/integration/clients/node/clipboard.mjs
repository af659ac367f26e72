// What a session learns of what another one has copied: `node clipboard.mjs <url>`. One line of JSON on stdout for each:
// {name} or {name, error}.
import { chromium } from 'playwright';

const url = process.argv[2];
const secret = 'copied by the victim';
const say = (name, error) => process.stdout.write(JSON.stringify({ name, error }) + '\n');
const check = (name, ok, got) => say(name, ok ? undefined : `got ${got}`);

const [victim, other] = await Promise.all([chromium.connect(url), chromium.connect(url)]);
const theirs = await victim.newPage();
await theirs.setContent('<input>');
await theirs.fill('input', secret);
await theirs.locator('input').selectText();
await theirs.keyboard.press('Control+C');

const context = await other.newContext();
const page = await context.newPage();
// A secure context, which alone has the clipboard.
await context.route('https://site.test/**', route => route.fulfill({ contentType: 'text/html', body: '<button>click</button><textarea></textarea>' }));
await page.goto('https://site.test/');

// A page's own script has nothing of it: neither by itself nor when its button is clicked.
const read = () => page.evaluate(() => navigator.clipboard.readText().then(t => t, e => e.name));
check('read by a script', await read() === 'NotAllowedError', await read());
const pasted = await page.evaluate(() => new Promise(done => {
  document.querySelector('button').onclick = () => {
    const into = document.querySelector('textarea');
    into.focus();
    const took = document.execCommand('paste');
    navigator.clipboard.read().then(() => 'read', e => e.name).then(r => done([took, into.value, r].join()));
  };
  document.querySelector('button').dispatchEvent(new MouseEvent('click'));
}));
check('paste by a script', pasted === 'false,,NotAllowedError', pasted);
const clicked = page.evaluate(() => new Promise(done => {
  document.querySelector('button').onclick = () => {
    const into = document.querySelector('textarea');
    into.focus();
    const took = document.execCommand('paste');
    navigator.clipboard.readText().then(t => t, e => e.name).then(r => done([took, into.value, r].join()));
  };
}));
await page.click('button');
check('paste at a click', await clicked === 'false,,NotAllowedError', await clicked);

// What the documentation says is shared, so that it does not say too much: the client presses a key, or grants the permission.
await page.locator('textarea').focus();
await page.keyboard.press('Control+V');
check('a key of the client pastes', await page.inputValue('textarea') === secret, await page.inputValue('textarea'));
await context.grantPermissions(['clipboard-read']);
check('a permission of the client reads', await read() === secret, await read());
await Promise.all([victim.close(), other.close()]);
say('end');
process.exit(0);
