// Loaded by Node before the Playwright server, which drives its browser through two pipes: it writes calls to one and reads
// answers and events from the other, each a piece of JSON that a NUL ends. All sessions share them, so what one of
// them asks for or gives back must not be so large that the others wait, or that server or browser end.
import childProcess from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';
import { answersWithin } from './answers.mjs';
import { clipboardsOf } from './clipboard.mjs';
import { linesWithin } from './lines.mjs';
import { picturesWithin } from './pictures.mjs';

// ?clipboard=session has each context use a clipboard of its own.
const ownClipboards = new URL(import.meta.url).searchParams.get('clipboard') === 'session';

const { spawn } = childProcess;
childProcess.spawn = (...args) => {
  const child = spawn(...args);
  if (child.stdio?.length !== 5) return child;
  const [, stdout, stderr, toBrowser, fromBrowser] = child.stdio;
  for (const output of [stdout, stderr]) if (output) filterData(output, linesWithin);
  guard(toBrowser, fromBrowser);
  return child;
};
syncBuiltinESMExports();

// filterData puts a filter before the listener of a stream's data.
function filterData(stream, filter) {
  const on = stream.on;
  stream.on = function (event, listener) {
    return on.call(this, event, event === 'data' ? filter(listener) : listener);
  };
}

// guard keeps the streams, and so their back-pressure, and replaces the methods of theirs that the server uses.
function guard(toBrowser, fromBrowser) {
  let deliver; // to the server
  // Between two messages, where these come in, no half of another has been delivered.
  const answer = (id, sessionId, content) => deliver?.(Buffer.from(JSON.stringify({ id, sessionId, ...content }) + '\0'));
  const pictures = picturesWithin(answer);
  const write = toBrowser.write;
  const clipboards = ownClipboards && clipboardsOf({
    write: call => write.call(toBrowser, call + '\0'),
    answer,
    deliver: messages => deliver(messages),
  });

  filterData(fromBrowser, listener => {
    deliver = messages => {
      pictures.read(messages);
      listener(messages);
    };
    return answersWithin(clipboards ? clipboards.read : deliver, answer);
  });

  let taken = false; // a call whose NUL comes next
  toBrowser.write = function (data, ...rest) {
    if (taken) return !(taken = false);
    if (typeof data === 'string' && data !== '\0' && (pictures.refuses(data) || clipboards && clipboards.takes(data))) return taken = true;
    return write.call(this, data, ...rest);
  };
}
