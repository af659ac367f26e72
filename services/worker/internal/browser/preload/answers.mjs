// What the browser gives back: a filter for the data of the pipe that the server reads. Whole messages go on as they came,
// without being decoded; one that is too large is swallowed as it arrives, and its call fails.

const MiB = 1 << 20;
export const limits = {
  // An answer of 64 MiB keeps the server from the other sessions for about a second, one of 512 MiB for good: it does not fit
  // in a string, and the server never reads the pipe rightly again.
  bytes: 64 * MiB,
  // Parsed, checked and written again, a value takes up to five microseconds and some hundred bytes, however short its spelling.
  values: 1_000_000,
  // Events that the server keeps, 200 of a page.
  keptBytes: MiB,
};
const kept = ['Runtime.consoleAPICalled', 'Runtime.exceptionThrown', 'Runtime.console', 'Page.uncaughtError']; // the last two are Firefox's
const unread = MiB; // how many bytes of a message pass without a look at what they are
const ends = 512; // so many bytes at the beginning and the end of a message tell whose it is

// answersWithin returns a listener for the pipe's data. deliver takes buffers of whole messages, or of parts of one of
// more than 1 MiB that follow each other at once. answer(id, sessionId, content) puts an answer in place of one that was swallowed.
export function answersWithin(deliver, answer) {
  let message = new Message();
  const end = () => {
    if (message.refused) replace(message, answer);
    else if (message.bytes > unread) message.pieces.forEach(deliver);
    else deliver(Buffer.concat(message.pieces));
    message = new Message();
  };
  return chunk => {
    let start = 0;
    if (message.bytes > 0) { // it goes on
      start = chunk.indexOf(0) + 1;
      message.add(start ? chunk.subarray(0, start) : chunk);
      if (!start) return;
      end();
    }
    // A message within one chunk, which has 64 KiB, is never too large.
    const last = chunk.lastIndexOf(0) + 1;
    if (last > start) deliver(chunk.subarray(start, last));
    if (last < chunk.length) message.add(chunk.subarray(last));
  };
}

// A message of which not all has come yet.
class Message {
  bytes = 0;
  pieces = []; // until it is refused
  head = ''; // once it is known
  tail; // its last bytes, once it is refused
  refused = ''; // why
  #values;

  add(piece) {
    this.bytes += piece.length;
    if (this.refused) {
      this.tail = piece.length < ends ? Buffer.concat([this.tail.subarray(-ends), piece]) : piece;
      return;
    }
    this.pieces.push(piece);
    if (this.bytes <= unread) return;
    if (!this.#values) {
      this.head = Buffer.concat(this.pieces).toString('latin1', 0, ends);
      this.#values = valueCounter();
      this.pieces.slice(0, -1).forEach(this.#values);
    }
    const values = this.#values(piece);
    const most = kept.some(method => this.head.startsWith(`{"method":"${method}"`)) ? limits.keptBytes : limits.bytes;
    if (this.bytes > most) this.#refuse(`is larger than ${most / MiB} MiB`);
    else if (values > limits.values) this.#refuse(`has more than ${limits.values.toLocaleString('en')} values`);
  }

  #refuse(why) {
    this.refused = why;
    this.tail = Buffer.concat(this.pieces.slice(-ends)).subarray(-ends); // the last pieces can have a byte each
    this.pieces = undefined;
  }
}

// valueCounter returns a function that takes the pieces of JSON one after the other and returns how many values there were
// up to now, less the first of each list.
function valueCounter() {
  let values = 0, inString = false, escaped = false;
  return piece => {
    for (let i = 0; i < piece.length; i++) {
      const c = piece[i];
      if (escaped) escaped = false;
      else if (c === 0x22) inString = !inString; // "
      else if (inString) escaped = c === 0x5c; // \
      else if (c === 0x2c) values++; // ,
    }
    return values;
  };
}

// replace answers in place of the browser. Chromium writes an id first and the session last, Firefox both first. An event has
// no id: it is lost, which nobody but its own session can notice.
function replace({ bytes, head, tail, refused }, answer) {
  const id = /^\{"id":(\d+),/.exec(head)?.[1];
  const session = /,"sessionId":"([^"\\]+)"\}\0$/.exec(tail.toString('latin1', Math.max(0, tail.length - ends))) ?? /^\{"id":\d+,"sessionId":"([^"\\]+)"/.exec(head);
  const what = id ? 'an answer' : 'an event ' + (/^\{"method":"([\w.]+)"/.exec(head)?.[1] ?? 'of unknown kind');
  console.error(`the server does not read ${what} of ${bytes} bytes: it ${refused}`);
  if (!id) return;
  const why = `What the page gives back ${refused}, which is more than a shared browser's server takes at once. Return less, or return it in pieces.`;
  // The server hides errors of a call that runs a script, but not what the script throws.
  const ofScript = /^\{"id":\d+,"result":\{"result":\{"type":/.test(head);
  answer(+id, session?.[1], ofScript ? { result: thrown(why) } : { error: { code: unknownCall, message: why } });
}

// With this code the server takes no offence at an answer for which nobody waits any more.
export const unknownCall = -32001;

const thrown = why => ({
  result: { type: 'undefined' },
  exceptionDetails: {
    exceptionId: 0, text: 'Uncaught', lineNumber: 0, columnNumber: 0,
    exception: { type: 'object', subtype: 'error', className: 'RangeError', description: `RangeError: ${why}` },
  },
});
