// Chromium has one clipboard for all contexts. Here each context gets its own: no call passes that would have the browser
// paste, or let a page read, what another one has copied. What such calls are for is done in the page, with what pages of
// the same context have copied.
import { randomUUID } from 'node:crypto';
import { unknownCall } from './answers.mjs';
import * as inPage from './clipboard-page.mjs';

const [alt, ctrl, meta, shift] = [1, 2, 4, 8]; // modifiers, as the DevTools protocol has them
const keys = (...all) => new Set(all.map(([modifiers, key]) => modifiers << 8 | key));
const [vkInsert, vkDelete, vkC, vkV, vkX] = [45, 46, 67, 86, 88];
// All keys at which Chromium on Linux pastes, of all 256 with all modifiers, and those at which it copies.
const pastes = keys([ctrl, vkV], [ctrl | shift, vkV], [shift, vkInsert]);
const copies = keys([ctrl, vkC], [ctrl, vkInsert], [ctrl, vkX], [shift, vkDelete]);

const noCommand = 'A command of the editor that pastes would paste what other sessions have copied. Press Control+V, or use page.keyboard.insertText() or locator.fill().';
const noKey = 'This is no key with its modifiers. Use page.keyboard.press().';
const noPermission = 'The permission would let pages read what other sessions have copied. Use context.grantPermissions().';

// meaningOf tells what Chromium would do at a key: paste, copy or something else. refuse is why it is not to be asked.
export function meaningOf({ type, windowsVirtualKeyCode: key = 0, modifiers = 0, commands = [] }) {
  // Commands are taken from characters as well.
  if (![].concat(commands).every(c => typeof c === 'string' && !/paste/i.test(c))) return { refuse: noCommand };
  // Further bits of a key count as modifiers, and further bits of modifiers as none.
  if (!(Number.isInteger(key) && key >= 0 && key < 256 && Number.isInteger(modifiers) && modifiers >= 0 && modifiers <= (alt | ctrl | meta | shift)))
    return { refuse: noKey };
  if (type === 'keyUp' || type === 'char') return {};
  const pressed = modifiers << 8 | key;
  return { pastes: pastes.has(pressed), copies: copies.has(pressed), plain: modifiers === (ctrl | shift) };
}

const reads = 'clipboardReadWrite', writes = 'clipboardSanitizedWrite'; // permissions of the DevTools protocol
const everywhere = '*';

// clipboardsOf keeps the clipboards of one browser. write sends a message to it; answer(id, sessionId, content) gives the
// server an answer, and deliver what the browser says.
export function clipboardsOf({ write, answer, deliver }) {
  const contexts = new Map(); // { content, granted: permissions by origin } by id
  const sessions = new Map(); // of the DevTools protocol: { context, target, world of the server, served } by id
  const waiting = new Map(); // own calls by id
  let lastID = 2 ** 30; // the server counts from 1
  let within = false; // a message so large that it comes in parts
  const binding = `clipboard_${randomUUID().replaceAll('-', '')}`; // by which pages tell what is copied
  const heard = ['{"method":"Target.', `{"method":"Runtime.bindingCalled","params":{"name":"${binding}"`, '{"method":"Page.documentOpened"'];

  const call = (method, params, sessionId) => new Promise((resolve, reject) => {
    waiting.set(++lastID, { sessionId, resolve, reject });
    write(JSON.stringify({ id: lastID, method, params, sessionId }));
  });
  const may = promise => promise.catch(() => {}); // fails where a page closes or navigates
  const text = (run, ...args) => `(${run})(${args.map(a => typeof a === 'function' ? `${a}` : JSON.stringify(a)).join()})`;
  const refuse = ({ id, sessionId }, message) => setImmediate(answer, id, sessionId, { error: { code: unknownCall, message } });
  const pass = ({ id, sessionId }, sent) => sent.then(result => answer(id, sessionId, { result }), error => answer(id, sessionId, { error }));
  const contextOf = id => contexts.get(id) ?? contexts.set(id, { content: {}, granted: new Map() }).get(id);

  const worldOf = async (sessionId, frameId) =>
    (await call('Page.createIsolatedWorld', { frameId, worldName: sessions.get(sessionId).world ?? 'clipboard', grantUniveralAccess: true }, sessionId)).executionContextId;

  // focused returns a function that runs others in the document with the page's focus, in a world that the page does not see.
  async function focused(sessionId, frameId, depth = 0) {
    const contextId = await worldOf(sessionId, frameId);
    const { result } = await call('Runtime.evaluate', { contextId, expression: text(inPage.focusedFrame) }, sessionId);
    if (!result.objectId || depth > 20)
      return async (...run) => (await call('Runtime.evaluate', { contextId, returnByValue: true, expression: text(...run) }, sessionId)).result.value;
    const { node } = await call('DOM.describeNode', { objectId: result.objectId }, sessionId);
    const [ofFrame] = [...sessions].find(([, { target }]) => target === node.frameId) ?? [sessionId]; // in another process, or in this one
    return focused(ofFrame, node.frameId, depth + 1);
  }

  async function press({ sessionId, params }, { pastes, plain }) {
    const { context, target } = sessions.get(sessionId) ?? {};
    const run = target && await may(focused(sessionId, target));
    if (run) await may(run(inPage.watch, inPage.watchCopies));
    // Without its code a key is for the page alone.
    const result = await call('Input.dispatchKeyEvent', pastes ? { ...params, windowsVirtualKeyCode: 0 } : params, sessionId);
    if (run && pastes) await may(run(inPage.paste, context.content, plain));
    if (run && !pastes) context.content = await may(run(inPage.copied)) ?? context.content;
    return result;
  }

  // tellCopies has a page's documents tell what is copied in them, by keys or by their own script.
  function tellCopies({ id, params, sessionId }) {
    const session = sessions.get(sessionId);
    session.world = params.worldName;
    may(call('Runtime.addBinding', { name: binding, executionContextName: session.world }, sessionId));
    write(JSON.stringify({ id, method: 'Page.addScriptToEvaluateOnNewDocument', params: { ...params, source: text(inPage.tellCopies, binding, inPage.watchCopies) }, sessionId }));
  }

  // A document that is opened to be written loses its listeners.
  async function reopened(sessionId, frameId) {
    const contextId = await worldOf(sessionId, frameId);
    await call('Runtime.evaluate', { contextId, expression: text(inPage.tellCopies, binding, inPage.watchCopies) }, sessionId);
  }

  // serve gives a page its context's clipboard by the names of the browser's, once and for all.
  function serve(sessionId) {
    const session = sessions.get(sessionId);
    if (session.served) return;
    session.served = true;
    may(call('Runtime.addBinding', { name: binding }, sessionId));
    may(call('Page.addScriptToEvaluateOnNewDocument', { source: text(inPage.serve, binding), runImmediately: true }, sessionId));
  }

  async function grant({ params, sessionId }) {
    const result = await call('Browser.grantPermissions', { ...params, permissions: params.permissions.filter(p => !/clipboard/i.test(p) || p === writes) }, sessionId);
    const owner = contextOf(params.browserContextId), { granted } = owner;
    if (params.permissions.some(p => /clipboard/i.test(p))) granted.set(params.origin ?? everywhere, params.permissions);
    else granted.delete(params.origin ?? everywhere);
    if (granted.size)
      for (const [id, { context, world }] of sessions) if (context === owner && world) serve(id);
    return result;
  }

  async function asked(sessionId, { executionContextId: contextId, payload }) {
    const { id, op, content } = JSON.parse(payload);
    const { context } = sessions.get(sessionId);
    if (op === 'copied') context.content = content;
    if (!id) return;
    const { result } = await call('Runtime.evaluate', { contextId, expression: 'location.origin' }, sessionId);
    const mayRead = [result.value, everywhere].some(origin => context.granted.get(origin)?.includes(reads));
    await call('Runtime.evaluate', { contextId, expression: `${binding}(${JSON.stringify([id, mayRead, mayRead && op === 'read' ? context.content : {}]).slice(1, -1)})` }, sessionId);
  }

  // hears notes what the browser says and tells whether that was for nobody else.
  function hears(message) {
    const head = message.toString('latin1', 0, 128);
    const own = waiting.get(+/^\{"id":(\d+),/.exec(head)?.[1]);
    if (!own && !heard.some(h => head.startsWith(h))) return false;
    const { id, method, params, sessionId, result, error } = JSON.parse(message.toString());
    if (own) {
      waiting.delete(id);
      error ? own.reject(error) : own.resolve(result);
      return true;
    }
    if (method === 'Runtime.bindingCalled') {
      may(asked(sessionId, params));
      return true;
    }
    if (method === 'Target.attachedToTarget') {
      sessions.set(params.sessionId, { context: contextOf(params.targetInfo.browserContextId), target: params.targetInfo.targetId });
    } else if (method === 'Target.detachedFromTarget') {
      sessions.delete(params.sessionId);
      for (const [id, { sessionId, reject }] of waiting) {
        if (sessionId !== params.sessionId) continue;
        waiting.delete(id);
        reject({ code: unknownCall, message: 'Target closed' });
      }
    } else if (method === 'Page.documentOpened' && sessions.get(sessionId)?.world) {
      may(reopened(sessionId, params.frame.id));
    }
    return false;
  }

  const taken = {
    'Input.dispatchKeyEvent': key => {
      const meaning = meaningOf(key.params);
      if (meaning.refuse) return refuse(key, meaning.refuse);
      if (!meaning.pastes && !meaning.copies) return false;
      pass(key, press(key, meaning));
    },
    'Browser.grantPermissions': call => pass(call, grant(call)),
    'Browser.setPermission': call => refuse(call, noPermission),
    'Browser.resetPermissions': ({ params }) => {
      contexts.get(params.browserContextId)?.granted.clear();
      return false;
    },
    'Target.disposeBrowserContext': ({ params }) => {
      contexts.delete(params.browserContextId);
      return false;
    },
    'Page.addScriptToEvaluateOnNewDocument': call => {
      // The server makes its own world in every document by this.
      if (call.params.source !== '' || !call.params.worldName || !sessions.has(call.sessionId)) return false;
      tellCopies(call);
      if (sessions.get(call.sessionId).context.granted.size) serve(call.sessionId);
    },
  };

  return {
    // takes tells whether a call is not to be written, since it is dealt with here.
    takes(data) {
      const method = /^"method":"([\w.]+)"/.exec(data.slice(data.indexOf(',') + 1, data.indexOf(',') + 100))?.[1];
      const take = Object.hasOwn(taken, method) && taken[method];
      return Boolean(take) && take(JSON.parse(data)) !== false;
    },

    // read delivers what the browser says, whole messages or parts of one that is large.
    read(messages) {
      const ends = messages.at(-1) === 0;
      if (within || !ends || !waiting.size && !heard.some(h => messages.includes(h))) {
        within = !ends;
        deliver(messages);
        return;
      }
      let start = 0;
      for (let at = 0, end; (end = messages.indexOf(0, at)) >= 0; at = end + 1) {
        if (!hears(messages.subarray(at, end))) continue;
        if (at > start) deliver(messages.subarray(start, at));
        start = end + 1;
      }
      if (start < messages.length) deliver(messages.subarray(start));
    },
  };
}
