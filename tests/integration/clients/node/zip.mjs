import fs from 'node:fs';
import zlib from 'node:zlib';

// The files of a zip archive: name → content.
export function unzip(file) {
  const b = fs.readFileSync(file);
  const entries = {};
  let at = b.readUInt32LE(b.lastIndexOf(Buffer.from('PK\x05\x06')) + 16);
  for (; b.readUInt32LE(at) === 0x02014b50; at += 46 + b.readUInt16LE(at + 28) + b.readUInt16LE(at + 30) + b.readUInt16LE(at + 32)) {
    const head = b.readUInt32LE(at + 42), from = head + 30 + b.readUInt16LE(head + 26) + b.readUInt16LE(head + 28);
    const data = b.subarray(from, from + b.readUInt32LE(at + 20));
    entries[b.toString('utf8', at + 46, at + 46 + b.readUInt16LE(at + 28))] = b.readUInt16LE(at + 10) ? zlib.inflateRawSync(data) : data;
  }
  return entries;
}
