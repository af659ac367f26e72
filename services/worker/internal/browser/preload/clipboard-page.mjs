// What is done in pages. These functions are sent as text, so each stands for itself. All but serve run in a world of their
// own, where a page's script changes nothing.

// focusedFrame returns the frame of this document that has the focus, if it is in one.
export function focusedFrame() {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return /^i?frame$/i.test(active?.tagName) ? active : undefined;
}

// watchCopies calls tell with what is copied in this document, by type, and returns how to stop it.
export function watchCopies(tell) {
  const most = 100_000; // characters, so that it is one message
  const offer = content => {
    for (const type of Object.keys(content)) if (!content[type]) delete content[type];
    if (JSON.stringify(content).length > most) content = { 'text/plain': content['text/plain'] ?? '' };
    tell(JSON.stringify(content).length <= most ? content : {});
  };
  const before = e => {
    const [target] = e.composedPath(), content = {};
    if (target.type === 'password') return;
    if (typeof target.selectionStart === 'number') {
      content['text/plain'] = target.value.slice(target.selectionStart, target.selectionEnd);
    } else {
      const selection = getSelection(), box = document.createElement('div');
      for (let i = 0; i < selection.rangeCount; i++) box.append(selection.getRangeAt(i).cloneContents());
      content['text/plain'] = selection.toString();
      content['text/html'] = box.innerHTML;
    }
    if (content['text/plain'] || content['text/html']) offer(content);
  };
  const after = e => {
    if (e.defaultPrevented) offer(Object.fromEntries([...e.clipboardData.types].map(type => [type, e.clipboardData.getData(type)])));
  };
  const listeners = [['copy', before, true], ['cut', before, true], ['copy', after, false], ['cut', after, false]];
  for (const l of listeners) addEventListener(...l);
  return () => { for (const l of listeners) removeEventListener(...l); };
}

export function tellCopies(binding, watchCopies) {
  globalThis.untell?.();
  globalThis.untell = watchCopies(content => globalThis[binding]?.(JSON.stringify({ op: 'copied', content })));
}

// watch looks at what comes of the next key.
export function watch(watchCopies) {
  globalThis.unwatch?.();
  const seen = globalThis.seen = {};
  const key = e => { seen.key = e; };
  addEventListener('keydown', key, true);
  const stop = watchCopies(content => { seen.content = content; });
  globalThis.unwatch = () => {
    removeEventListener('keydown', key, true);
    stop();
  };
}

// copied returns what the key has copied, if anything.
export function copied() {
  globalThis.unwatch?.();
  return globalThis.seen?.content;
}

// paste does what the browser does at the key, unless the page has prevented it.
export function paste(content, plain) {
  globalThis.unwatch?.();
  if (globalThis.seen?.key?.defaultPrevented) return;
  const text = content['text/plain'], html = plain ? '' : content['text/html'];
  let target = document.activeElement;
  const { anchorNode } = getSelection();
  if (anchorNode && !anchorNode.contains(target)) target = anchorNode.parentElement; // the focus is elsewhere than the selection
  while (target?.shadowRoot?.activeElement) target = target.shadowRoot.activeElement;
  target ??= document.body ?? document.documentElement;
  const data = () => {
    const d = new DataTransfer();
    for (const [type, value] of Object.entries(content)) if (!plain || type === 'text/plain') d.setData(type, value);
    return d;
  };
  const may = event => target.dispatchEvent(event);
  const cancelable = { bubbles: true, cancelable: true, composed: true };
  if (!may(new ClipboardEvent('paste', { ...cancelable, clipboardData: data() })) || !text && !html) return;
  const editable = target.isContentEditable;
  const rich = html && editable && getComputedStyle(target).webkitUserModify === 'read-write';
  const into = editable ? { dataTransfer: data() } : { data: text };
  const known = editable || 'selectionStart' in target; // else the document knows whether something can be edited
  if (known && !may(new InputEvent('beforeinput', { ...cancelable, inputType: 'insertFromPaste', ...into }))) return;
  const box = document.createElement('div');
  if (rich && box.setHTML) { // which leaves out what would run
    box.setHTML(html);
    try {
      if (document.execCommand('insertHTML', false, box.innerHTML)) return;
    } catch {} // where the page takes trusted types only
  }
  if (text) document.execCommand('insertText', false, text);
}

// serve puts the clipboard of the context in place of the browser's, in the page's own world.
export function serve(binding) {
  const call = globalThis[binding];
  if (typeof call !== 'function' || !globalThis.Clipboard) return;
  const waiting = new Map();
  let last = 0;
  Object.defineProperty(globalThis, binding, { configurable: true, writable: true, enumerable: false, value: (id, ...answer) => {
    waiting.get(id)?.(answer);
    waiting.delete(id);
  } });
  const allowed = document.featurePolicy?.allowsFeature('clipboard-read') ?? window === top;
  const ask = (op, content) => new Promise(done => {
    waiting.set(++last, done);
    call(JSON.stringify({ id: last, op, content }));
  });
  const read = async name => {
    const [mayRead, content] = await ask('read');
    if (!mayRead || !allowed) throw new DOMException(`Failed to execute '${name}' on 'Clipboard': Read permission denied.`, 'NotAllowedError');
    return content;
  };
  const { write, writeText } = Clipboard.prototype, { query } = Permissions.prototype;
  const copy = content => ask('copied', JSON.stringify(content).length <= 100_000 ? content : {});
  const methods = {
    async readText() {
      return (await read('readText'))['text/plain'] ?? '';
    },
    async read() {
      const items = Object.entries(await read('read')).filter(([type]) => ClipboardItem.supports(type));
      return items.length ? [new ClipboardItem(Object.fromEntries(items.map(([type, value]) => [type, new Blob([value], { type })])))] : [];
    },
    async writeText(text) {
      await writeText.apply(this, arguments); // which knows the permission
      await copy({ 'text/plain': `${text}` });
    },
    async write(items) {
      await write.apply(this, arguments);
      const content = {};
      for (const item of items)
        for (const type of item.types) if (/^(web )?text\//.test(type)) content[type] = await (await item.getType(type)).text();
      await copy(content);
    },
  };
  for (const [name, value] of Object.entries(methods)) Object.defineProperty(Clipboard.prototype, name, { configurable: true, enumerable: true, writable: true, value });
  Object.defineProperty(Permissions.prototype, 'query', { configurable: true, enumerable: true, writable: true, value: async function (descriptor) {
    const status = await query.apply(this, arguments);
    if (descriptor.name !== 'clipboard-read' || !allowed) return status;
    const [mayRead] = await ask('query');
    return mayRead ? Object.defineProperty(status, 'state', { value: 'granted' }) : status;
  } });
}
