// Files: downloads, and uploads in every form.
import crypto from 'node:crypto';
import fs from 'node:fs';

const sum = data => data.length + ' ' + crypto.createHash('sha1').update(data).digest('hex').slice(0, 10);

async function download(page, address) {
  const [got] = await Promise.all([page.waitForEvent('download'), page.evaluate(a => { const l = document.createElement('a'); l.href = a; document.body.append(l); l.click(); }, address)]);
  return got;
}
// What a page sees of the files of its inputs and drops.
const listed = files => Promise.all([...files].map(async f => [f.name, f.webkitRelativePath, f.size, f.type, f.size < 100 ? await f.text() : '']));
const chosen = page => page.evaluate(`(${listed})(document.querySelector('input').files)`);
const bySize = list => list.sort((a, b) => (a[1] + a[0] < b[1] + b[0] ? -1 : 1));

export default {
  'downloads': async ({ page, site, file }) => {
    const p = await page();
    await p.goto(site.url);
    const got = await download(p, '/file');
    await got.saveAs(file('deep/folder/saved.bin'));
    const value = [got.suggestedFilename(), got.url(), await got.failure(), sum(fs.readFileSync(file('deep/folder/saved.bin')))];
    value.push(sum(Buffer.concat(await (await got.createReadStream()).toArray())));
    await got.delete();
    const data = await download(p, 'data:application/x-thing,some%20text');
    value.push(data.suggestedFilename(), (await (await data.createReadStream()).toArray()).join(''));
    return value;
  },
  'download in pieces of a page': async ({ page }) => {
    const p = await page();
    await p.setContent('<a download="made.txt">get</a>');
    await p.evaluate(() => { document.querySelector('a').href = URL.createObjectURL(new Blob(['made here'])); });
    const [got] = await Promise.all([p.waitForEvent('download'), p.click('a')]);
    return [got.suggestedFilename(), (await (await got.createReadStream()).toArray()).join('')];
  },
  'downloads that fail': async ({ browser, page, site, failure, file }) => {
    const p = await page();
    await p.goto(site.url);
    const got = await download(p, '/endless');
    await got.cancel();
    const value = [await got.failure(), await failure(got.saveAs(file('x'))), await failure(got.path())];
    const none = await browser.newContext({ acceptDownloads: false });
    const q = await none.newPage();
    await q.goto(site.url);
    const refused = await download(q, '/file');
    value.push(await refused.failure(), await failure(refused.createReadStream()));
    await none.close();
    return value;
  },
  'uploads': async ({ page, file, failure }) => {
    const p = await page();
    await p.setContent('<input type=file multiple>');
    const value = [];
    const put = async files => { await p.locator('input').setInputFiles(files); value.push(await chosen(p)); };
    await put(file('one.txt', 'first'));
    await put([file('one.txt'), file('zwei ü.html', '<b>second</b>')]);
    await put({ name: 'buffer.json', mimeType: 'application/json', buffer: Buffer.from('{"a":1}') });
    await put([{ name: 'a', mimeType: 'text/plain', buffer: Buffer.alloc(0) }, { name: 'b.bin', mimeType: '', buffer: Buffer.from([0, 255]) }]);
    await put([]);
    const [chooser] = await Promise.all([p.waitForEvent('filechooser'), p.click('input')]);
    await chooser.setFiles(file('chosen.csv', 'a,b'));
    value.push(chooser.isMultiple(), await chosen(p), await failure(p.setInputFiles('input', file('missing'))));
    return value;
  },
  'upload of much': async ({ page, file, failure }) => {
    const p = await page();
    await p.setContent('<input type=file>');
    const size = () => p.evaluate(async () => { const [f] = document.querySelector('input').files; return [f.name, f.size, [...new Uint8Array(await f.slice(-3).arrayBuffer())]]; });
    await p.setInputFiles('input', file('large.bin', Buffer.alloc(6 << 20, 'L')));
    const value = [await size()];
    await p.setInputFiles('input', { name: 'memory.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(3 << 20, 'M') });
    value.push(await size());
    value.push(await failure(p.setInputFiles('input', { name: 'more.bin', mimeType: '', buffer: Buffer.alloc(51 << 20) })));
    return value;
  },
  'upload of a folder': async ({ page, file }) => {
    const p = await page();
    await p.setContent('<input type=file webkitdirectory>');
    file('tree/top.txt', 'top');
    file('tree/deep/er/leaf.txt', 'leaf');
    file('tree/deep/top.txt', 'of the same name');
    file('tree/tree', 'as the folder');
    await p.setInputFiles('input', file('tree'));
    return bySize(await chosen(p));
  },
  'uploads of one name': async ({ page, file }) => {
    const p = await page();
    await p.setContent('<input type=file multiple>');
    await p.setInputFiles('input', [file('a/same', 'a'), file('b/same', 'b')]);
    const value = [bySize(await chosen(p))];
    // A file and a folder whose names are the same, one after the other.
    file('c/same/inside', 'in the folder');
    await p.setContent('<input type=file webkitdirectory>');
    await p.setInputFiles('input', file('c/same'));
    value.push(await chosen(p));
    await p.setContent('<input type=file>');
    await p.setInputFiles('input', file('a/same'));
    value.push(await chosen(p));
    return value;
  },
  'drop': async ({ page, file }) => {
    const p = await page();
    await p.setContent('<div style="height:200px">here</div>');
    await p.evaluate(`document.querySelector('div').ondragover = e => e.preventDefault();
      document.querySelector('div').ondrop = e => { e.preventDefault(); window.dropped = (${listed})(e.dataTransfer.files).then(f => [f, e.dataTransfer.getData('text/plain')]); window.text = e.dataTransfer.getData('text/plain'); };`);
    await p.locator('div').drop({ files: [file('dropped.txt', 'let go')], data: { 'text/plain': 'words' } });
    return p.evaluate(async () => [(await window.dropped)[0], window.text]);
  },
};
