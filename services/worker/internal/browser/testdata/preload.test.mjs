// Tests of ../preload: `node --test preload.test.mjs`.
import assert from 'node:assert/strict';
import childProcess from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { answersWithin, limits } from '../preload/answers.mjs';
import { clipboardsOf, meaningOf } from '../preload/clipboard.mjs';
import { linesWithin, mostOfLine } from '../preload/lines.mjs';
import { picturesWithin } from '../preload/pictures.mjs';
import '../preload/pipe.mjs';

const MiB = 1 << 20;
console.error = () => {};

// read gives a filter the messages in pieces, of so many bytes at each place, and returns what the server has of them, in order: text, or an answer in place of one.
function read(messages, pieces) {
  const got = [];
  let parts = [];
  const take = answersWithin(
    buffer => {
      for (let end; (end = buffer.indexOf(0)) >= 0; buffer = buffer.subarray(end + 1)) {
        got.push(Buffer.concat([...parts, buffer.subarray(0, end)]).toString('latin1'));
        parts = [];
      }
      if (buffer.length) parts.push(buffer);
    },
    (id, sessionId, content) => {
      assert.equal(parts.length, 0, 'an answer amid another');
      got.push({ id, sessionId, ...content });
    },
  );
  const all = Buffer.from(messages.map(m => m + '\0').join(''), 'latin1');
  for (let at = 0; at < all.length;) {
    const n = pieces(at);
    take(all.subarray(at, at + n));
    at += n;
  }
  assert.equal(parts.length, 0);
  return got;
}

// A generator of numbers that is the same at each run.
function random(seed) {
  return below => (seed = (seed * 48271) % 0x7fffffff) % below;
}

const chunk = 65536;
const answer = (id, value) => `{"id":${id},"result":{"result":{"type":"string","value":"${value}"}},"sessionId":"S${id}"}`;

test('messages pass however they are cut', () => {
  const rnd = random(1);
  for (let round = 0; round < 300; round++) {
    const messages = Array.from({ length: 1 + rnd(20) }, (_, i) => answer(i, 'x'.repeat(rnd(3) ? rnd(20) : rnd(2000))));
    if (!rnd(4)) messages.splice(rnd(messages.length), 0, '');
    const most = 1 + rnd(rnd(2) ? 5 : 3000);
    assert.deepEqual(read(messages, () => 1 + rnd(most)), messages);
  }
});

test('what is too large is replaced, and what comes before and after it passes', () => {
  const rnd = random(2);
  for (const pieces of [() => 1 + rnd(chunk), after => (after < limits.bytes ? chunk : 1 + rnd(9))]) {
    const messages = [answer(1, 'before'), answer(2, 'x'.repeat(limits.bytes)), '{"method":"after"}', answer(3, 'x'.repeat(2000)), answer(4, '')];
    const got = read(messages, pieces);
    assert.deepEqual([got[0], ...got.slice(2)], [messages[0], ...messages.slice(2)]);
    assert.equal(got[1].id, 2);
    assert.equal(got[1].sessionId, 'S2');
    assert.match(got[1].result.exceptionDetails.exception.description, /larger than 64 MiB.*Return less/);
  }
});

test('as much as may be passes', () => {
  const frame = answer(1, '').length + 1;
  assert.equal(typeof read([answer(1, 'x'.repeat(limits.bytes - frame))], () => chunk)[0], 'string');
  assert.equal(typeof read([answer(1, 'x'.repeat(limits.bytes - frame + 1))], () => chunk)[0], 'object');
});

test('a call that runs no script gets an error', () => {
  const text = 'x'.repeat(limits.bytes);
  const [chromium, firefox, browser] = read([
    `{"id":7,"result":{"body":"${text}"},"sessionId":"S"}`,
    `{"id":8,"sessionId":"F","result":{"data":"${text}"}}`,
    `{"id":9,"result":{"text":"${text}","sessionId":"other"}}`,
  ], () => chunk);
  assert.deepEqual([chromium.id, chromium.sessionId, chromium.error.code], [7, 'S', -32001]);
  assert.match(chromium.error.message, /larger than 64 MiB/);
  assert.deepEqual([firefox.id, firefox.sessionId], [8, 'F']);
  assert.deepEqual([browser.id, browser.sessionId], [9, undefined]);
});

test('events that are too large are lost', () => {
  const of = (method, size) => `{"method":"${method}","params":{"a":"${'x'.repeat(size)}"},"sessionId":"S"}`;
  const passes = (method, size) => read([of(method, size), 'after'], () => chunk).length === 2;
  assert(passes('Runtime.consoleAPICalled', MiB - 100));
  assert(!passes('Runtime.consoleAPICalled', MiB));
  assert(!passes('Runtime.exceptionThrown', MiB));
  assert(passes('Runtime.bindingCalled', 63 * MiB));
  assert(!passes('Runtime.bindingCalled', 64 * MiB));
});

test('values are counted, and not what stands in text', () => {
  const list = (n, of) => `{"id":1,"result":{"result":{"type":"object","value":[${Array(n).fill(of).join()}]}},"sessionId":"S"}`;
  const rnd = random(3);
  const passes = message => typeof read([message], () => 1 + rnd(chunk))[0] === 'string';
  assert(passes(list(limits.values - 10, 0)));
  assert(!passes(list(limits.values + 10, 0)));
  assert(!passes(list(limits.values + 10, '{}')));
  assert(passes(list(3, JSON.stringify(',"\\'.repeat(limits.values)))));
});

const metrics = (sessionId, deviceScaleFactor) => JSON.stringify({ id: 1, method: 'Emulation.setDeviceMetricsOverride', params: { width: 1, height: 1, deviceScaleFactor }, sessionId });
const picture = (sessionId, clip, captureBeyondViewport) => JSON.stringify({ id: 2, method: 'Page.captureScreenshot', params: { clip, captureBeyondViewport }, sessionId });

test('pictures are bounded', async () => {
  const answers = [];
  const calls = picturesWithin((...answer) => answers.push(answer));
  const clip = (width, height, scale) => ({ x: 0, y: 0, width, height, scale });
  assert(!calls.refuses(JSON.stringify({ id: 3, method: 'Page.captureScreenshot' })));
  assert(!calls.refuses(picture('A', clip(7680, 4320, 1.5))));
  assert(!calls.refuses(picture('A', clip(8000, 10000))));
  assert(calls.refuses(picture('A', clip(8000, 10001, 1))));
  assert(calls.refuses(picture('A', clip(4000, 4000, 3))));
  assert(calls.refuses(picture('A', clip('wide', 1, 1))));
  assert(calls.refuses(picture('A', clip(90e6, 0.1, 1))));
  assert(calls.refuses(picture('A', undefined, true)));
  assert(!calls.refuses(picture('A', undefined, false)));
  assert(!calls.refuses(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: picture('A', clip(1e6, 1e6)) } })));
  assert.deepEqual(answers, [], 'not before the call has returned');
  await new Promise(setImmediate);
  assert.equal(answers.length, 5);
  const [id, sessionId, { error }] = answers[0];
  assert.deepEqual([id, sessionId, error.code], [2, 'A', -32001]);
  assert.match(error.message, /8000 × 10001 pixels are too many/);
});

test('a page of a larger scale has fewer', () => {
  const calls = picturesWithin(() => {});
  const refuses = session => calls.refuses(picture(session, { x: 0, y: 0, width: 4000, height: 4000, scale: 1 }));
  calls.refuses(metrics('A', 3));
  calls.refuses(metrics('B', 2));
  assert.deepEqual(['A', 'B', 'C'].map(refuses), [true, false, false]);
  calls.refuses(metrics('A', 0)); // none of its own
  calls.refuses(metrics('B', 4));
  assert.deepEqual(['A', 'B'].map(refuses), [false, true]);
  calls.refuses(JSON.stringify({ id: 4, method: 'Emulation.clearDeviceMetricsOverride', sessionId: 'B' }));
  assert.deepEqual(['A', 'B'].map(refuses), [false, false]);
});

test('sessions that have ended are forgotten', () => {
  const calls = picturesWithin(() => {});
  for (const session of ['A', 'B', 'C']) calls.refuses(metrics(session, 2));
  const detached = session => `{"method":"Target.detachedFromTarget","params":{"sessionId":"${session}","targetId":"T"}}\0`;
  calls.read(Buffer.from(`{"id":1}\0${detached('A')}{"id":2,"result":${JSON.stringify({ value: detached('B') })}}\0${detached('C')}`));
  assert.deepEqual([...calls.scales.keys()], ['B']);
});

test('lines of output are cut', () => {
  const rnd = random(4);
  const long = 'x'.repeat(mostOfLine - 1);
  const lines = ['a', '', long, long + 'y', long + 'yz'.repeat(5000), 'b', 'z'.repeat(300_000), 'c', ''];
  for (let round = 0; round < 20; round++) {
    let got = '';
    const take = linesWithin(buffer => { got += buffer; });
    const all = Buffer.from(lines.join('\n'));
    for (let at = 0; at < all.length;) {
      const n = 1 + rnd(round % 2 ? chunk : 700);
      take(all.subarray(at, at + n));
      at += n;
    }
    assert.deepEqual(got.split('\n'), lines.map(line => line.slice(0, mostOfLine)));
  }
});

test('keys that paste are known, and none is made of more bits', () => {
  const pasting = [];
  for (let windowsVirtualKeyCode = 0; windowsVirtualKeyCode < 256; windowsVirtualKeyCode++)
    for (let modifiers = 0; modifiers < 16; modifiers++) {
      const key = { type: 'rawKeyDown', windowsVirtualKeyCode, modifiers };
      const { refuse, pastes } = meaningOf(key);
      assert(!refuse);
      if (pastes) pasting.push(`${windowsVirtualKeyCode}/${modifiers}`);
      assert(!meaningOf({ ...key, type: 'keyUp' }).pastes);
    }
  assert.deepEqual(pasting, ['45/8', '86/2', '86/10']);
  assert(meaningOf({ type: 'keyDown', windowsVirtualKeyCode: 86, modifiers: 10 }).plain);
  for (const key of [{ windowsVirtualKeyCode: 86 + 65536 }, { windowsVirtualKeyCode: -170 }, { windowsVirtualKeyCode: 86.5 }, { windowsVirtualKeyCode: '86' },
    { modifiers: 18 }, { modifiers: -14 }, { modifiers: 2.5 }, { modifiers: '2' }])
    assert.match(meaningOf({ type: 'keyDown', ...key }).refuse, /no key/);
  for (const commands of [['Paste'], ['Copy', 'pasteAndMatchStyle'], ['paste:'], 'Paste', [['Paste']], [{}]])
    for (const type of ['keyDown', 'keyUp', 'char']) assert.match(meaningOf({ type, commands }).refuse, /would paste/);
  assert(!meaningOf({ type: 'keyDown', commands: ['Copy', 'selectAll'] }).refuse);
});

// A browser that answers calls as told, and what the server has of it. Contexts A and B have a page each, with sessions of the same names.
function clipboards(replies) {
  const sent = [], got = [];
  const deliver = buffer => got.push(...String(buffer).split('\0').filter(Boolean).map(m => JSON.parse(m)));
  const c = clipboardsOf({
    deliver,
    answer: (id, sessionId, content) => got.push({ id, sessionId, ...content }),
    write: text => {
      const call = JSON.parse(text);
      sent.push(call);
      const result = replies(call);
      if (result) setImmediate(say, { id: call.id, result, sessionId: call.sessionId });
    },
  });
  const say = (...messages) => c.read(Buffer.from(messages.map(m => JSON.stringify(m) + '\0').join('')));
  const call = (method, params, sessionId) => c.takes(JSON.stringify({ id: 7, method, params, sessionId }));
  for (const s of ['A', 'B']) say({ method: 'Target.attachedToTarget', params: { sessionId: s, targetInfo: { targetId: s, browserContextId: s } } });
  got.length = 0;
  return { sent, got, say, call };
}
const later = async condition => {
  for (let turns = 0; !condition(); turns++) {
    assert(turns < 10_000, 'it does not come');
    await new Promise(setImmediate);
  }
};
const ctrl = code => ({ type: 'rawKeyDown', key: String.fromCharCode(code), windowsVirtualKeyCode: code, modifiers: 2 });

test('a context pastes what it has copied, and nothing of another', { timeout: 20_000 }, async () => {
  const pasted = [];
  const { sent, got, call } = clipboards(({ method, params, sessionId }) => {
    if (method === 'Page.createIsolatedWorld') return { executionContextId: 1 };
    if (method !== 'Runtime.evaluate') return {};
    if (params.expression.startsWith('(function copied')) return { result: { value: { 'text/plain': `of ${sessionId}` } } };
    if (params.expression.startsWith('(function paste')) pasted.push(sessionId + params.expression.slice(params.expression.lastIndexOf('(')));
    return { result: {} };
  });
  for (const [session, code] of [['B', 86], ['A', 67], ['B', 86], ['A', 86], ['B', 88], ['B', 86]]) {
    assert(call('Input.dispatchKeyEvent', ctrl(code), session));
    await later(() => got.length);
    assert.deepEqual(got.splice(0), [{ id: 7, sessionId: session, result: {} }]);
  }
  assert.deepEqual(pasted, ['B({},false)', 'B({},false)', 'A({"text/plain":"of A"},false)', 'B({"text/plain":"of B"},false)']);
  const codes = sent.filter(c => c.method === 'Input.dispatchKeyEvent').map(c => c.params.windowsVirtualKeyCode);
  assert.deepEqual(codes, [0, 67, 0, 0, 88, 0], 'no key that pastes has reached the browser');
  assert(!call('Input.dispatchKeyEvent', ctrl(65), 'A'));
  assert(call('Input.dispatchKeyEvent', ctrl(86), 'unknown'), 'a session that nobody knows');
  await later(() => got.length);
  assert.equal(sent.at(-1).params.windowsVirtualKeyCode, 0);
  assert(call('Input.dispatchKeyEvent', { commands: ['Paste'] }, 'A'));
  await later(() => got.length === 2);
  assert.match(got[1].error.message, /Control\+V/);
});

test('no page is let read the clipboard of the browser', { timeout: 20_000 }, async () => {
  const { sent, got, say, call } = clipboards(({ method, params }) => method === 'Runtime.evaluate' && params.expression === 'location.origin'
    ? { result: { value: 'https://a' } } : {});
  for (const permissions of [['clipboardReadWrite', 'geolocation'], ['clipboardReadWrite', 'clipboardSanitizedWrite'], ['clipboardOfTomorrow']])
    assert(call('Browser.grantPermissions', { browserContextId: 'A', origin: 'https://a', permissions }));
  await later(() => got.length === 3);
  const granted = sent.filter(c => c.method === 'Browser.grantPermissions').map(c => c.params.permissions.join());
  assert.deepEqual(granted, ['geolocation', 'clipboardSanitizedWrite', '']);
  assert(call('Browser.setPermission', { permission: { name: 'clipboard-read' }, setting: 'granted' }));
  await later(() => got.length === 4);
  assert.match(got[3].error.message, /grantPermissions/);

  // A page is told what its own context has copied, where that lets its origin.
  assert(call('Page.addScriptToEvaluateOnNewDocument', { source: '', worldName: 'w' }, 'A'));
  await later(() => got.length === 5);
  const { name } = sent.find(c => c.method === 'Runtime.addBinding').params;
  const asks = async (sessionId, content) => {
    sent.length = 0;
    say({ method: 'Runtime.bindingCalled', params: { name, executionContextId: 5, payload: JSON.stringify({ id: 1, op: content ? 'copied' : 'read', content }) }, sessionId });
    await later(() => sent.length === 2);
    return sent[1].params.expression.replace(name, '');
  };
  await asks('B', { 'text/plain': 'of B' });
  await asks('A', { 'text/plain': 'of A' });
  assert.equal(await asks('A'), '(1,false,{})', 'not the permission that reads');
  for (const [id, permissions] of [['A', ['clipboardReadWrite']], ['B', ['clipboardReadWrite']]])
    call('Browser.grantPermissions', { browserContextId: id, origin: id === 'A' ? 'https://a' : 'https://b', permissions });
  await later(() => got.length === 7);
  assert.equal(await asks('A'), '(1,true,{"text/plain":"of A"})');
  assert.equal(await asks('B'), '(1,false,{})', 'another origin');
  assert(!call('Browser.resetPermissions', { browserContextId: 'A' }));
  assert.equal(await asks('A'), '(1,false,{})');
  assert.equal(got.length, 7, 'the server hears nothing of this');
});

test('a page that closes ends its calls', { timeout: 20_000 }, async () => {
  const { sent, got, say, call } = clipboards(({ method }) => method === 'Page.createIsolatedWorld' && { executionContextId: 1 });
  call('Input.dispatchKeyEvent', ctrl(86), 'A');
  await later(() => sent.length === 2);
  say({ method: 'Target.detachedFromTarget', params: { sessionId: 'A' } }, { id: 1, result: { of: 'the server' } });
  assert.deepEqual(got, [{ method: 'Target.detachedFromTarget', params: { sessionId: 'A' } }, { id: 1, result: { of: 'the server' } }]);
  await later(() => sent.at(-1).method === 'Input.dispatchKeyEvent');
});

test('a process with two more pipes is a browser', { timeout: 20_000 }, async t => {
  const echo = "require('fs').createReadStream(null, { fd: 3 }).pipe(require('fs').createWriteStream(null, { fd: 4 })); console.error('x'.repeat(10_000))";
  const browser = childProcess.spawn(process.execPath, ['-e', echo], { stdio: ['ignore', 'inherit', 'pipe', 'pipe', 'pipe'], signal: t.signal });
  const [, , errors, to, from] = browser.stdio;
  let output = '';
  errors.on('data', buffer => { output += buffer; });
  const got = [];
  let wanted, parts = '';
  from.on('data', buffer => {
    parts += buffer;
    got.push(...parts.split('\0'));
    parts = got.pop();
    if (got.length >= wanted) from.emit('all');
  });
  const send = async (n, ...messages) => {
    got.length = 0;
    wanted = n;
    for (const message of messages) {
      to.write(message);
      to.write('\0');
    }
    await once(from, 'all');
    return got;
  };
  const large = picture('A', { x: 0, y: 0, width: 4000, height: 4000, scale: 1 });
  const first = await send(3, metrics('A', 3), large, 'after');
  assert.deepEqual(first.filter(m => !m.includes('"error"')), [metrics('A', 3), 'after']);
  assert.match(first.find(m => m.includes('"error"')), /^\{"id":2,"sessionId":"A","error":\{.* too many/);
  assert.deepEqual(await send(2, '{"method":"Target.detachedFromTarget","params":{"sessionId":"A"}}', 'after'), ['{"method":"Target.detachedFromTarget","params":{"sessionId":"A"}}', 'after']);
  assert.deepEqual(await send(2, large, 'after'), [large, 'after']);
  to.end();
  await once(browser, 'close');
  assert.equal(output, 'x'.repeat(mostOfLine) + '\n');
});
