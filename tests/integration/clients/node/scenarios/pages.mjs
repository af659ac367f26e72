// Pages: finding and using what is on them, and what they tell.
const tell = error => error.message.split('\n')[0];

export default {
  'navigation': async ({ page, site, failure }) => {
    const p = await page();
    await p.goto(site.url);
    await p.getByRole('link', { name: 'next' }).click();
    await p.waitForURL('**/next');
    const value = [p.url(), await p.title()];
    await p.goBack();
    await p.goForward();
    await p.goBack();
    value.push(p.url(), (await p.reload()).status(), (await p.goto(site.url + '/#part')) === null, p.url(), (await p.goto(site.url + '/none')).status());
    for (const address of ['http://127.0.0.1:9/', 'no address', 'about:blank', 'data:text/html,<title>data</title>']) value.push([address, await failure(p.goto(address)), await p.title()]);
    return value;
  },
  'a script as codegen writes it': async ({ page, site }) => {
    const p = await page();
    await p.goto(site.url + '/');
    await p.getByRole('link', { name: 'next' }).click();
    await p.getByRole('heading', { name: 'Next' }).click();
    await p.goto(site.url + '/form');
    await p.getByRole('textbox', { name: 'Name' }).click();
    await p.getByRole('textbox', { name: 'Name' }).fill('codegen');
    await p.getByRole('textbox', { name: 'Name' }).press('Enter');
    return (await p.locator('body').textContent()).includes('codegen');
  },
  'locators': async ({ page }) => {
    const p = await page();
    await p.setContent(`<form><label>Name <input placeholder="your name" title="a title"></label><img alt="a picture"><button data-testid=go data-mine=own>Go</button>
      <ul><li>one <b>x</b></li><li>two</li><li style="display:none">three</li></ul><x-shadow></x-shadow><p id=near>near</p><select multiple><option>a<option>b<option selected>c</select></form>`);
    await p.evaluate(() => { document.querySelector('x-shadow').attachShadow({ mode: 'open' }).innerHTML = '<i class=in>in the shadow</i>'; });
    const value = [];
    for (const l of [p.getByRole('button', { name: 'Go' }), p.getByText('two'), p.getByLabel('Name'), p.getByPlaceholder('your name'), p.getByAltText('a picture'), p.getByTitle('a title'), p.getByTestId('go'),
      p.locator('css=li >> nth=1'), p.locator('xpath=//li[2]'), p.locator('text="one"'), p.locator('.in'), p.locator('li', { has: p.locator('b') }), p.locator('li').filter({ hasText: 'two' }), p.locator('li').and(p.getByText('two')),
      p.getByText('one').or(p.getByText('nothing')), p.locator('li:visible'), p.locator('p:near(select)'), p.locator('li').last(), p.locator('id=near'), p.locator('data-testid=go'), p.locator('li:has-text("two")'), p.locator('li').visible()])
      value.push([l.toString(), await l.count(), await l.first().evaluate(e => e.tagName)]);
    value.push(await p.locator('li').allInnerTexts(), await p.getByRole('listitem').allTextContents(), await p.locator('b').boundingBox().then(b => b.width > 0));
    value.push(await p.locator('select').selectOption(['a', 'b']), (await p.locator('button').normalize()).toString(), await p.$$eval('li', l => l.length));
    const handle = await p.$('button');
    value.push(await handle.getAttribute('data-mine'), await (await handle.getProperty('tagName')).jsonValue(), await (await p.evaluateHandle(() => [1, { a: 2 }])).jsonValue());
    return value;
  },
  'test ids and selector engines of its own': async ({ browser, page }) => {
    const { selectors } = await import('playwright');
    await selectors.register('tag', () => ({ query: (root, s) => root.querySelector(s), queryAll: (root, s) => [...root.querySelectorAll(s)] }));
    const context = await browser.newContext();
    const p = await context.newPage();
    await p.setContent('<i>by tag</i>');
    const value = [await p.textContent('tag=i')];
    await context.close();
    return value;
  },
  'input': async ({ page }) => {
    const p = await page();
    await p.setContent('<input id=a><input id=b type=checkbox><div id=c draggable=true style="width:50px;height:50px">c</div><div id=d style="width:50px;height:50px">d</div><div style="height:3000px"></div><p id=low>low');
    await p.evaluate(() => {
      window.seen = [];
      for (const e of ['click', 'dblclick', 'contextmenu', 'keydown', 'mouseover', 'drop', 'dragstart', 'wheel', 'focus', 'blur']) document.addEventListener(e, x => window.seen.push(e + ':' + (x.target.id || x.target.nodeName) + (x.key ? '=' + x.key : '')), true);
      document.querySelector('#d').addEventListener('dragover', e => e.preventDefault());
    });
    await p.type('#a', 'aB');
    await p.press('#a', 'Shift+ArrowLeft');
    await p.locator('#a').pressSequentially('é');
    await p.keyboard.insertText('語');
    await p.keyboard.down('Shift');
    await p.keyboard.up('Shift');
    await p.check('#b');
    await p.locator('#b').setChecked(false);
    await p.dblclick('#d');
    await p.click('#d', { button: 'right', modifiers: ['Control'], position: { x: 3, y: 4 } });
    await p.dragAndDrop('#c', '#d');
    await p.hover('#low');
    await p.mouse.move(10, 10, { steps: 3 });
    await p.mouse.wheel(0, 100);
    await p.locator('#a').focus();
    await p.locator('#a').blur();
    await p.dispatchEvent('#c', 'click');
    return [await p.inputValue('#a'), await p.isChecked('#b'), (await p.evaluate(() => window.seen.filter(e => !/mouseover|wheel/.test(e))))];
  },
  'touch': async ({ browser }) => {
    const context = await browser.newContext({ hasTouch: true, isMobile: true, viewport: { width: 390, height: 800 } });
    const p = await context.newPage();
    await p.setContent('<button>tap</button>');
    await p.evaluate(() => { window.n = 0; document.addEventListener('touchstart', () => window.n++); });
    await p.tap('button');
    await p.touchscreen.tap(20, 20);
    const value = await p.evaluate('n');
    await context.close();
    return value;
  },
  'assertions': async ({ page }) => {
    const { expect } = await import('@playwright/test');
    const p = await page();
    await p.setContent('<title>t</title><ul class="a b"><li>one<li>two</ul><input value=v checked type=checkbox>');
    await expect(p).toHaveTitle('t');
    await expect(p.locator('li')).toHaveText(['one', 'two']);
    await expect(p.locator('ul')).toHaveClass(/a/);
    await expect(p.getByRole('checkbox')).toBeChecked();
    return await expect(p.locator('li')).toHaveCount(3, { timeout: 100 }).catch(tell);
  },
  'dialogs': async ({ page }) => {
    const p = await page();
    const seen = [];
    p.on('dialog', async d => { seen.push([d.type(), d.message(), d.defaultValue()]); if (d.message() === 'no') await d.dismiss(); else await d.accept('said'); });
    const value = [await p.evaluate(() => [alert('a'), confirm('yes'), confirm('no'), prompt('name', 'default')].map(String))];
    await p.setContent('<script>addEventListener("beforeunload", e => { e.preventDefault(); e.returnValue = ""; })</script><button>x</button>');
    await p.click('button');
    await Promise.all([p.waitForEvent('close'), p.close({ runBeforeUnload: true })]);
    return [...value, seen];
  },
  'popups, frames, openers': async ({ context, page, site }) => {
    const p = await page();
    await p.goto(site.url);
    const [popup] = await Promise.all([p.waitForEvent('popup'), p.getByText('popup').click()]);
    await popup.waitForLoadState();
    const value = [popup.url(), await popup.title(), await popup.opener() === p, context.pages().length];
    const [second] = await Promise.all([context.waitForEvent('page'), p.evaluate(() => { window.open('/next', 'named', 'width=300,height=200'); })]);
    await second.waitForURL('**/next');
    value.push(await second.evaluate(() => window.name));
    await popup.close();
    value.push(popup.isClosed(), context.pages().length);
    await p.goto(site.url + '/frames');
    value.push(p.frames().map(f => f.name()), await p.frame('one').title(), await p.frameLocator('[name=two]').locator('b').innerText(), await p.locator('[name=two]').contentFrame().locator('b').count());
    const element = await p.frame('one').frameElement();
    value.push(await element.getAttribute('name'), p.frame('one').parentFrame() === p.mainFrame());
    await p.evaluate(() => document.querySelector('iframe').remove());
    return [...value, p.frames().length];
  },
  'workers': async ({ page, site }) => {
    const p = await page();
    await p.goto(site.url);
    const [worker] = await Promise.all([p.waitForEvent('worker'), p.evaluate(() => { window.w = new Worker('/shift'); })]);
    const value = [worker.url(), await worker.evaluate('self.answer'), await (await worker.evaluateHandle(() => [self.answer])).jsonValue(), p.workers().length];
    value.push(await p.evaluate(() => new Promise(done => { window.w.onmessage = e => done(e.data); window.w.postMessage(4); })));
    await Promise.all([worker.waitForEvent('close'), p.evaluate(() => window.w.terminate())]);
    return [...value, p.workers().length];
  },
  'service workers': async ({ context, page, site }) => {
    const p = await page();
    await p.goto(site.url);
    const [worker] = await Promise.all([context.waitForEvent('serviceworker'), p.evaluate(() => { navigator.serviceWorker.register('/sw.js'); return navigator.serviceWorker.ready.then(() => true); })]);
    await p.waitForFunction(() => navigator.serviceWorker.controller);
    const [response] = await Promise.all([p.waitForResponse('**/by-worker'), p.evaluate(() => fetch('/by-worker').then(r => r.text()))]);
    return [worker.url(), context.serviceWorkers().length, response.fromServiceWorker(), await response.text(), await worker.evaluate(() => self.registration.scope)];
  },
  'bindings and scripts': async ({ context, page, site }) => {
    await context.exposeBinding('there', async ({ page: p, frame }, a, b) => [p.url(), frame === p.mainFrame(), a + b]);
    await context.addInitScript(x => { window.early = x; }, { from: 'the client' });
    const p = await page();
    await p.exposeFunction('fails', () => { throw new Error('on purpose'); });
    await p.addInitScript({ content: 'window.later = 2' });
    await p.goto(site.url);
    await p.addScriptTag({ content: 'window.tag = 3' });
    await p.addStyleTag({ url: site.url + '/style.css' });
    return [await p.evaluate(() => [window.early, window.later, window.tag]), await p.evaluate(() => window.there(1, 2)), await p.evaluate(() => window.fails().catch(e => e.message)),
      await p.evaluate(() => getComputedStyle(document.querySelector('h1')).color)];
  },
  'clock': async ({ page }) => {
    const p = await page();
    await p.clock.install({ time: new Date('2030-01-01T10:00:00Z') });
    await p.setContent('<p></p>');
    const now = () => p.evaluate(() => new Date().toISOString());
    await p.clock.pauseAt(new Date('2030-01-01T12:00:00Z'));
    const value = [await now()];
    await p.evaluate(() => { window.ticks = 0; setInterval(() => window.ticks++, 1000); });
    await p.clock.runFor(5000);
    value.push(await p.evaluate('ticks'), await now());
    await p.clock.fastForward('01:00');
    value.push(await p.evaluate('ticks'), await now());
    await p.clock.setFixedTime('2031-02-03T00:00:00Z');
    value.push(await now());
    await p.clock.setSystemTime(0);
    await p.clock.resume();
    return value;
  },
  'console and errors': async ({ context, page, site, failure }) => {
    const p = await page();
    const seen = [];
    p.on('console', async m => seen.push([m.type(), m.text(), m.args().length, m.location().lineNumber]));
    p.on('pageerror', e => seen.push(['pageerror', e.name, e.message]));
    context.on('weberror', e => seen.push(['weberror', e.error().message]));
    await p.goto(site.url);
    await p.evaluate(() => { console.log('a', 1, { b: 2 }); console.warn('w'); console.error('e'); console.table([[1]]); console.debug('%s!', 'formatted'); setTimeout(() => { throw new TypeError('thrown'); }); });
    await p.waitForEvent('pageerror');
    return [seen.filter(s => !String(s[1]).includes('404')).sort(), (await p.consoleMessages()).length > 4, (await p.pageErrors()).map(e => e.message),
      await failure(p.evaluate(() => { throw new Error('in the page'); })), await failure(p.evaluate('syntax error(')), await failure(p.click('#none', { timeout: 50 })), await failure(p.waitForSelector('#none', { timeout: 50 }))];
  },
  'handlers of locators, waiting': async ({ page }) => {
    const p = await page();
    await p.setContent('<div id=over style="position:fixed;inset:0;background:white">over<button onclick="over.remove()">close</button></div><a href="#x">under</a>');
    await p.addLocatorHandler(p.locator('#over'), () => p.locator('#over button').click());
    await p.click('a');
    await p.evaluate(() => setTimeout(() => { document.body.append('late'); }, 20));
    await p.getByText('late').waitFor();
    await p.waitForFunction(n => document.body.textContent.length > n, 3, { polling: 10 });
    return [p.url(), await p.locator('#over').count()];
  },
  'what DevTools of a page give': async ({ context, page, site }) => {
    const p = await page();
    await p.coverage.startJSCoverage();
    await p.coverage.startCSSCoverage();
    await p.goto(site.url);
    await p.addStyleTag({ url: site.url + '/style.css' });
    await p.addScriptTag({ url: site.url + '/shift' });
    const css = await p.coverage.stopCSSCoverage(), js = await p.coverage.stopJSCoverage();
    const cdp = await context.newCDPSession(p);
    const events = [];
    cdp.on('Runtime.consoleAPICalled', e => events.push(e.args[0].value));
    await cdp.send('Runtime.enable');
    await p.evaluate(() => console.log('by CDP'));
    await cdp.send('Performance.enable');
    const value = [css.map(c => [c.url, c.ranges.length]), js.map(c => c.url), (await cdp.send('Runtime.evaluate', { expression: '6 * 7' })).result.value, (await cdp.send('DOM.getDocument')).root.nodeName,
      (await cdp.send('Performance.getMetrics')).metrics.length > 0, events];
    await cdp.detach();
    await p.requestGC();
    await p.bringToFront();
    return value;
  },
};
