// What the browser writes to its standard output and error, where headless Chromium repeats what pages say to the console. The
// server reads lines, and keeps hundreds of the last ones.
export const mostOfLine = 4096; // bytes

// linesWithin returns a listener for a stream's data that gives deliver what belongs to lines, the end of long ones left out.
export function linesWithin(deliver) {
  let length = 0; // of the line that goes on
  return chunk => {
    const kept = [];
    for (let at = 0; at < chunk.length;) {
      const end = chunk.indexOf(10, at) + 1 || chunk.length;
      const room = Math.max(0, mostOfLine - length);
      kept.push(chunk.subarray(at, Math.min(end, at + room)));
      length += end - at;
      if (chunk[end - 1] === 10) {
        if (length > mostOfLine) kept.push(Buffer.from('\n'));
        length = 0;
      }
      at = end;
    }
    deliver(Buffer.concat(kept));
  };
}
