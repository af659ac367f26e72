// Attacks with every method of the DevTools protocol, by the CDP session of an ordinary page beside a victim's:
// `node cdp.mjs <url> <origin of the pages> <cdp.txt> <protocol.d.ts>`. One line of JSON on stdout for each method: {name}
// or {name, error}.
//
// A method that the guard allows is called with what is its own, then with each id of the victim in turn, then with ids
// that it does not take. Nothing that comes back may have the victim's secret, and the victim's page must stay as it was.
// Every method needs an entry in the table below: its own parameters, and whether its effect shows in the attacker's page,
// which proves that it would show in the victim's. All other methods must be refused.
import { chromium } from 'playwright';
import crypto from 'node:crypto';
import fs from 'node:fs';

const [url, origin, allowedFile, definitions] = process.argv.slice(2);
const say = line => process.stdout.write(JSON.stringify(line) + '\n');
const secret = 'secret-of-the-victim';
// The secret as it is, and inside of base64 at each of the places where a group of three bytes may begin.
const forms = [secret, ...[0, 1, 2].map(n => Buffer.from(' '.repeat(n) + secret).toString('base64').slice(n && 4, -4))];
const tells = text => forms.some(f => text.includes(f));

const allowed = fs.readFileSync(allowedFile, 'utf8').split('\n').filter(l => /^[A-Z]/.test(l)).map(l => l.split(' ')[0]);

// What each method takes, as Playwright's types define it: method → name of the parameter → type.
const methods = {};
for (const [, domain, body] of fs.readFileSync(definitions, 'utf8').replaceAll(/\/\*.*?\*\//gs, '').matchAll(/export namespace (?!Protocol)(\w+) \{(.*?)\n {2}\}/gs))
  for (const [, name, params] of body.matchAll(/export type (\w+)Parameters = \{(.*?)\n {4}\}/gs))
    methods[`${domain}.${name}`] = Object.fromEntries([...params.matchAll(/(\w+)\??: (.*?);/gs)].map(([, key, type]) => [key, type]));

// The types of which the victim has something, with all that may be tried for it.
const foreign = v => ({
  'FrameId': [v.frame], 'NodeId': [v.node], 'BackendNodeId': [v.backendNode], 'BackendNodeId[]': [[v.backendNode]], 'RemoteObjectId': [v.object],
  'ExecutionContextId': [v.context], 'RequestId': [v.request], 'AXNodeId': [v.ax], 'StyleSheetId': [v.sheet], 'ScriptId': [v.script],
  'AuthenticatorId': [v.authenticator],
});
const others = { uniqueContextId: 'unique', credentialId: 'credential', contextId: 'context' };

// Own parameters, and what the method does: 'acts' if its effect shows in the page that it was called for. `undo` puts the page right.
const own = a => ({ nodeId: a.node }), object = a => ({ objectId: a.object }), none = () => ({});
const point = { x: 10, y: 10 };
const loud = ['Emulation', 'Input', 'Network', 'Page', 'Runtime'];
const table = {
  Accessibility: {
    enable: none, getAXNodeAndAncestors: own, getChildAXNodes: a => ({ id: a.ax }), getFullAXTree: none, getPartialAXTree: own,
    getRootAXNode: none, queryAXTree: a => ({ nodeId: a.node, role: 'button' }), disable: none,
  },
  Animation: { enable: none, getPlaybackRate: none, setPlaybackRate: () => ({ playbackRate: 0 }), disable: none },
  CSS: {
    enable: none, getBackgroundColors: own, getComputedStyleForNode: own, getInlineStylesForNode: own, getMatchedStylesForNode: own,
    getMediaQueries: none, getStyleSheetText: a => ({ styleSheetId: a.sheet }), getPlatformFontsForNode: own, startRuleUsageTracking: none, takeCoverageDelta: none, stopRuleUsageTracking: none,
    forcePseudoState: { acts: a => ({ nodeId: a.node, forcedPseudoClasses: ['hover'] }) }, disable: none,
  },
  Debugger: { enable: none, getScriptSource: a => ({ scriptId: a.script }), disable: none },
  DOMDebugger: { getEventListeners: object },
  DOMSnapshot: { enable: none, captureSnapshot: () => ({ computedStyles: ['color'], includePaintOrder: true, includeDOMRects: true }), disable: none },
  HeapProfiler: {
    enable: none, collectGarbage: none, startSampling: none, getSamplingProfile: none, stopSampling: none, startTrackingHeapObjects: none,
    stopTrackingHeapObjects: none, takeHeapSnapshot: none, disable: none,
  },
  LayerTree: { enable: none, disable: none },
  Log: { enable: none, startViolationsReport: () => ({ config: [{ name: 'longTask', threshold: 1 }] }), stopViolationsReport: none, clear: none, disable: none },
  Memory: { getDOMCounters: none },
  Overlay: { enable: none, disable: none },
  Performance: { enable: none, getMetrics: none, disable: none },
  Profiler: {
    enable: none, setSamplingInterval: () => ({ interval: 100 }), start: none, stop: none, startPreciseCoverage: () => ({ callCount: true, detailed: true }), takePreciseCoverage: none,
    getBestEffortCoverage: none, stopPreciseCoverage: none, disable: none,
  },
  WebAuthn: {
    enable: none, addVirtualAuthenticator: () => ({ options: { protocol: 'u2f', transport: 'usb' } }), setUserVerified: a => ({ authenticatorId: a.authenticator, isUserVerified: false }),
    setAutomaticPresenceSimulation: a => ({ authenticatorId: a.authenticator, enabled: false }), setResponseOverrideBits: a => ({ authenticatorId: a.authenticator }),
    addCredential: a => ({ authenticatorId: a.authenticator, credential: credential('another') }), getCredentials: a => ({ authenticatorId: a.authenticator }),
    getCredential: a => ({ authenticatorId: a.authenticator, credentialId: a.credential }),
    setCredentialProperties: { acts: a => ({ authenticatorId: a.authenticator, credentialId: a.credential, backupState: true }) },
    removeCredential: { acts: a => ({ authenticatorId: a.authenticator, credentialId: a.credential }) }, clearCredentials: { acts: a => ({ authenticatorId: a.authenticator }) },
    removeVirtualAuthenticator: a => ({ authenticatorId: a.authenticator }), disable: none,
  },
  DOM: {
    enable: none, describeNode: own, getAttributes: own, getBoxModel: own, getContentQuads: own,
    getNodeForLocation: () => point, getOuterHTML: own,
    pushNodesByBackendIdsToFrontend: a => ({ backendNodeIds: [a.backendNode] }), querySelector: a => ({ nodeId: a.node, selector: 'b' }),
    querySelectorAll: a => ({ nodeId: a.node, selector: '*' }), requestChildNodes: own, requestNode: a => ({ objectId: a.element }), resolveNode: own,
    focus: { acts: a => ({ nodeId: a.input }) }, scrollIntoViewIfNeeded: { acts: a => ({ nodeId: a.bottom }) },
    // These give every node a new id.
    getDocument: () => ({ depth: -1, pierce: true }), getFlattenedDocument: () => ({ depth: -1, pierce: true }), disable: none,
  },
  Emulation: {
    setDeviceMetricsOverride: { acts: () => ({ width: 321, height: 123, deviceScaleFactor: 3, mobile: true }) }, clearDeviceMetricsOverride: { acts: none },
    setPageScaleFactor: () => ({ pageScaleFactor: 2 }), resetPageScaleFactor: none,
    setAutoDarkModeOverride: () => ({ enabled: true }), setCPUThrottlingRate: { own: () => ({ rate: 4 }), undo: { rate: 1 } },
    setDefaultBackgroundColorOverride: () => ({ color: { r: 255, g: 0, b: 0, a: 1 } }), setEmitTouchEventsForMouse: () => ({ enabled: false }),
    setEmulatedMedia: { acts: () => ({ media: 'print', features: [{ name: 'prefers-color-scheme', value: 'dark' }, { name: 'prefers-reduced-motion', value: 'reduce' }] }) },
    setEmulatedVisionDeficiency: { own: () => ({ type: 'achromatopsia' }), undo: { type: 'none' } }, setFocusEmulationEnabled: () => ({ enabled: true }),
    setGeolocationOverride: { acts: () => ({ latitude: 50, longitude: 60, accuracy: 1 }) }, 
    setIdleOverride: () => ({ isUserActive: false, isScreenUnlocked: false }), clearIdleOverride: none, setLocaleOverride: { acts: () => ({ locale: 'ja-JP' }) },
    setScrollbarsHidden: () => ({ hidden: true }), setTimezoneOverride: { acts: () => ({ timezoneId: 'Pacific/Honolulu' }) },
    setTouchEmulationEnabled: () => ({ enabled: true, maxTouchPoints: 5 }),
    setUserAgentOverride: { acts: () => ({ userAgent: 'attacker', acceptLanguage: 'xx', platform: 'attacked' }) },
    clearGeolocationOverride: none, setScriptExecutionDisabled: { own: () => ({ value: true }), undo: { value: false } },
  },
  Input: {
    dispatchMouseEvent: { acts: () => ({ type: 'mousePressed', button: 'left', clickCount: 1, ...point }) }, dispatchKeyEvent: { acts: () => ({ type: 'keyDown', key: 'a', text: 'a' }) },
    dispatchTouchEvent: { acts: () => ({ type: 'touchStart', touchPoints: [point] }) }, imeSetComposition: () => ({ text: 'x', selectionStart: 0, selectionEnd: 1 }),
    insertText: { acts: () => ({ text: 'attacked' }) }, synthesizePinchGesture: () => ({ scaleFactor: 2, ...point }), synthesizeScrollGesture: () => ({ yDistance: -200, speed: 100_000, ...point }),
    synthesizeTapGesture: () => ({ duration: 1, ...point }), cancelDragging: none,
  },
  Network: {
    enable: none, getRequestPostData: a => ({ requestId: a.request }), getResponseBody: a => ({ requestId: a.request }),
    setCacheDisabled: () => ({ cacheDisabled: true }), setBypassServiceWorker: () => ({ bypass: true }),
    setUserAgentOverride: { acts: () => ({ userAgent: 'attacker' }) }, setExtraHTTPHeaders: { acts: () => ({ headers: { 'x-attacked': 'yes' } }) },
    setBlockedURLs: { acts: () => ({ urls: ['*'] }), undo: { urls: [] } },
    clearBrowserCache: { acts: none },
    emulateNetworkConditions: { acts: () => ({ offline: true, latency: 0, downloadThroughput: -1, uploadThroughput: -1 }) }, disable: none,
  },
  Page: {
    enable: none, getFrameTree: none, getLayoutMetrics: none, captureSnapshot: none, captureScreenshot: () => ({ fromSurface: true, captureBeyondViewport: true, clip: { x: 0, y: 0, width: 1280, height: 2000, scale: 1 } }),
    setLifecycleEventsEnabled: () => ({ enabled: true }), setBypassCSP: () => ({ enabled: true }), startScreencast: none, screencastFrameAck: () => ({ sessionId: 1 }), stopScreencast: none,
    stopLoading: none, bringToFront: none, createIsolatedWorld: a => ({ frameId: a.frame }), getNavigationHistory: none, resetNavigationHistory: none,
    addScriptToEvaluateOnNewDocument: () => ({ source: `document.title = 'attacked'`, runImmediately: true }), removeScriptToEvaluateOnNewDocument: () => ({ identifier: '1' }),
    setWebLifecycleState: { own: () => ({ state: 'frozen' }), undo: { state: 'active' } }, reload: none, disable: none,
  },
  Runtime: {
    enable: none, evaluate: { acts: () => ({ expression: `document.title = 'attacked'; inspect?.(document); document.documentElement.outerHTML`, includeCommandLineAPI: true, userGesture: true, returnByValue: true }) },
    callFunctionOn: a => ({ functionDeclaration: 'function() { return document.documentElement.outerHTML; }', objectId: a.object, returnByValue: true }),
    awaitPromise: a => ({ promiseObjectId: a.promise }), getProperties: object, globalLexicalScopeNames: none, getHeapUsage: none, discardConsoleEntries: none,
    queryObjects: a => ({ prototypeObjectId: a.prototype }), addBinding: () => ({ name: 'attacked' }), removeBinding: () => ({ name: 'attacked' }), releaseObjectGroup: () => ({ objectGroup: '' }), releaseObject: object,
    runIfWaitingForDebugger: none, disable: none,
  },
};

// A page as it shows itself, and what the server of the pages sees of it. Runs in the page.
const look = async () => {
  const date = Intl.DateTimeFormat().resolvedOptions();
  const cached = await fetch('/cached').then(r => r.text(), e => String(e));
  const answer = await fetch('/headers').then(r => r.text(), e => String(e));
  return JSON.stringify({
    title: document.title, html: document.body.innerHTML, href: location.href, history: history.length, agent: navigator.userAgent, language: navigator.language,
    platform: navigator.platform, online: navigator.onLine, touch: navigator.maxTouchPoints, zone: date.timeZone, locale: date.locale, 
    size: [innerWidth, innerHeight, devicePixelRatio, screen.width, visualViewport.scale, scrollX, scrollY],
    media: ['print', '(prefers-color-scheme: dark)', '(prefers-reduced-motion: reduce)'].map(m => matchMedia(m).matches),
    state: document.visibilityState, active: document.activeElement?.id, value: document.querySelector('input').value, hover: document.querySelector('button:hover')?.id,
    color: getComputedStyle(document.querySelector('button')).color, events: globalThis.events,
    at: await new Promise(done => navigator.geolocation.getCurrentPosition(p => done(p.coords.latitude), e => done(e.message), { timeout: 1000 })),
    storage: { ...localStorage }, cookie: document.cookie, answer, cached,
  });
};

const pageOf = text => `<!doctype html><title>${text}</title><style>button:hover { color: rgb(1, 2, 3) } .${text} { color: red } @keyframes k { to { opacity: .9 } } i { animation: k 1000s }</style>
  <button id=button>${text}</button><input id=input value="${text}"><i>moves</i><div style="height: 5000px"></div><p id=bottom>${text}</p>
  <script>events = []; ${JSON.stringify(text)}; for (const e of ['keydown', 'mousedown', 'touchstart', 'wheel', 'paste', 'resize', 'offline', 'visibilitychange', 'scroll'])
  addEventListener(e, () => events.push(e), true); localStorage.mark = document.cookie = '${text}'; mark = { text: '${text}' };</script>`;

const key = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64');
const credential = of => ({ credentialId: Buffer.from(`credential of ${of}`).toString('base64'), isResidentCredential: false, rpId: 'site.test', privateKey: key, signCount: 0 });

// Opens a page with this text and finds out, by its own CDP session, what there is to name of it.
async function open(browser, text) {
  const context = await browser.newContext({ geolocation: { latitude: 10, longitude: 20 }, permissions: ['geolocation'], serviceWorkers: 'block' });
  const page = await context.newPage();
  await page.goto(origin + '/');
  const cdp = await context.newCDPSession(page);
  const events = [], waiting = new Map();
  cdp._channel.on('event', e => { events.push(e); waiting.get(e.method)?.(e.params); });
  const next = event => new Promise(done => waiting.set(event, done));
  const contexts = next('Runtime.executionContextCreated');
  await cdp.send('Runtime.enable');
  const { context: executionContext } = await contexts;
  await cdp.send('Network.enable');
  await page.evaluate(html => { document.open(); document.write(html); document.close(); }, pageOf(text));
  const requests = next('Network.requestWillBeSent');
  await page.evaluate(text => fetch('/headers', { method: 'POST', headers: { 'x-text': text }, body: text }).then(r => r.text()), text);
  const { requestId } = await requests;
  await cdp.send('DOM.enable');
  const { root } = await cdp.send('DOM.getDocument', { depth: -1 });
  const find = async selector => (await cdp.send('DOM.querySelector', { nodeId: root.nodeId, selector })).nodeId;
  const node = await find('button');
  const sheets = next('CSS.styleSheetAdded');
  await cdp.send('CSS.enable');
  const { header } = await sheets;
  const scripts = next('Debugger.scriptParsed');
  await cdp.send('Debugger.enable');
  const { scriptId } = await scripts;
  await cdp.send('Debugger.disable');
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true } });
  await cdp.send('WebAuthn.addCredential', { authenticatorId, credential: credential(text) });
  const objectOf = async expression => (await cdp.send('Runtime.evaluate', { expression })).result.objectId;
  await cdp.send('Accessibility.enable');
  const { nodes } = await cdp.send('Accessibility.getFullAXTree');
  return {
    page, context, cdp, events, node, input: await find('#input'), bottom: await find('#bottom'), backendNode: (await cdp.send('DOM.describeNode', { nodeId: node })).node.backendNodeId,
    object: await objectOf('mark'), element: await objectOf('document.body'), promise: await objectOf('Promise.resolve(mark)'), request: requestId, sheet: header.styleSheetId, ax: nodes[0].nodeId,
    context_: executionContext.id, unique: executionContext.uniqueId, frame: (await cdp.send('Page.getFrameTree')).frameTree.frame.id,
    prototype: await objectOf('Object.prototype'), script: scriptId, authenticator: authenticatorId, credential: credential(text).credentialId, 
    look: async () => await page.evaluate(look) + JSON.stringify(await cdp.send('WebAuthn.getCredentials', { authenticatorId }).catch(String)),
  };
}

// With the victim's own session each of its ids leads to the secret, so it is worth something.
async function checkIds(v) {
  for (const [method, params] of [
    ['DOM.getOuterHTML', { nodeId: v.node }], ['DOM.getOuterHTML', { backendNodeId: v.backendNode }], ['Runtime.getProperties', { objectId: v.object }],
    ['Network.getResponseBody', { requestId: v.request }], ['Runtime.evaluate', { expression: 'document.title', uniqueContextId: v.unique }],
    ['Runtime.evaluate', { expression: 'document.title', contextId: v.context }], ['Accessibility.getFullAXTree', { frameId: v.frame }],
    ['Accessibility.getChildAXNodes', { id: v.ax }],
  ]) {
    const got = JSON.stringify(await v.cdp.send(method, params));
    if (!tells(got)) throw new Error(`${method} ${JSON.stringify(params)} of the victim itself: ${got}`);
  }
}

// The calls that are tried with a method: [what it is, parameters].
function attacks(method, params, v) {
  const list = [], definition = methods[method];
  for (const [key, type] of Object.entries(definition)) {
    const name = type.split('.').pop();
    const ids = others[key] ? [v[others[key]]] : foreign(v)[name] ?? [];
    for (const id of ids) {
      // Of several that say the same, only the foreign one.
      const rest = Object.fromEntries(Object.entries(params).filter(([k]) => !(/Id$/.test(k) && /Id$/.test(key)) || !/\b(nodeId|backendNodeId|objectId|contextId|uniqueContextId|executionContextId)\b/.test(k)));
      list.push([`the victim's ${key}`, { ...rest, [key]: id }]);
    }
  }
  list.push(['ids that it does not take', { ...params, targetId: v.frame, frameId: v.frame, sessionId: params.sessionId ?? v.frame, browserContextId: v.frame }]);
  return list;
}

async function main() {
  const known = Object.entries(table).flatMap(([domain, of]) => Object.keys(of).map(name => `${domain}.${name}`));
  for (const name of allowed) if (!known.includes(name)) say({ name, error: 'allowed, but nothing here attacks it: judge it and enter it into the table' });
  for (const name of known) if (!allowed.includes(name)) say({ name, error: 'in the table, but not allowed' });

  const theirs = await chromium.connect(url), browser = await chromium.connect(url);
  const v = await open(theirs, secret);
  v.context = v.context_;
  await checkIds(v);
  const happened = [];
  for (const event of ['framenavigated', 'crash', 'close', 'console', 'pageerror', 'dialog', 'download', 'popup']) v.page.on(event, () => happened.push(event));
  let before = await v.look();

  let a;
  for (const [domain, of] of Object.entries(table)) {
    // Those that change the page get one of their own; DOM comes last of the others, because it numbers the nodes anew.
    if (!a || loud.includes(domain)) {
      await a?.context.close();
      a = await open(browser, 'attacker');
    }
    for (const [name, entry] of Object.entries(of)) {
      const method = `${domain}.${name}`, make = entry.acts ?? entry.own ?? entry;
      if (!allowed.includes(method)) continue;
      try {
        if (entry.acts) await a.page.evaluate(() => document.querySelector('input').focus({ preventScroll: true })).catch(() => {});
        const mine = entry.acts && name !== 'focus' ? await a.look() : entry.acts && await a.page.evaluate(() => document.activeElement.blur()).then(() => a.look());
        const params = make(a);
        await a.cdp.send(method, params);
        if (entry.acts && await a.look() === mine) throw new Error('it does nothing that shows in its own page, so it proves nothing');
        for (const [what, p] of attacks(method, params, v)) {
          const got = await a.cdp.send(method, p).then(JSON.stringify, e => String(e));
          if (got.includes('The pool refuses')) throw new Error('refused: ' + got);
          if (tells(got)) throw new Error(`with ${what}: ${got.slice(0, 500)}`);
        }
        if (entry.undo) await a.cdp.send(method, entry.undo);
        const after = await v.look();
        if (after !== before) throw new Error(`the victim's page has changed: ${before}\n${after}`);
        say({ name: method });
      } catch (e) {
        say({ name: method, error: e.message });
        before = await v.look();
      }
    }
    const leak = a.events.splice(0).map(e => JSON.stringify(e)).find(e => tells(e) || e.includes(v.frame));
    say({ name: `events of ${domain}`, error: leak });
  }
  say({ name: 'events at the victim', error: happened.join() || undefined });

  const passed = [];
  for (const method of Object.keys(methods)) {
    if (allowed.includes(method)) continue;
    const got = await a.cdp.send(method, {}).then(() => 'done', e => e.message);
    if (!got.includes('The pool refuses')) passed.push(`${method}: ${got}`);
  }
  if (Object.keys(methods).length < 600) passed.push('the definitions are not what they were');
  say({ name: 'all other methods are refused', error: passed.join('\n') || undefined });
  say({ name: 'the victim goes on', error: await v.look() === before ? undefined : 'it has changed' });
  await theirs.close();
  await browser.close();
}

await main().catch(e => say({ name: 'cdp', error: e.stack }));
say({ name: 'end' });
process.exit(0);
