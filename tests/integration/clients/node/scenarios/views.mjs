// Pictures, documents and descriptions of pages. The same browser draws the same pixels wherever it runs.
import crypto from 'node:crypto';

const drawn = png => [png.length > 100, png.subarray(1, 4).toString() === 'PNG' ? [png.readUInt32BE(16), png.readUInt32BE(20)] : png.subarray(0, 3).toString('hex'), crypto.createHash('sha1').update(png).digest('hex')];
const body = '<body style="margin:0;font:20px sans-serif"><h1>Title ✓ 語</h1><input value=x><p style="background:linear-gradient(red,blue);width:300px;height:900px">tall</p><b id=b style="display:inline-block;width:64px;height:32px;background:green"></b>';
const document = pdf => [pdf.subarray(0, 5).toString(), (pdf.toString('latin1').match(/\/Type \/Page\b/g) ?? []).length, pdf.toString('latin1').match(/\/MediaBox \[[^\]]*\]/)?.[0], [...new Set(pdf.toString('latin1').match(/\/BaseFont \/\S+/g))].sort()];

export default {
  'screenshots': async ({ page }) => {
    const p = await page();
    await p.setContent(body);
    const value = [];
    for (const options of [{}, { fullPage: true }, { clip: { x: 10, y: 20, width: 30, height: 40 } }, { type: 'jpeg', quality: 50 }, { fullPage: true, clip: { x: 0, y: 800, width: 100, height: 100 } },
      { mask: [p.locator('input')], maskColor: 'yellow' }, { style: 'h1 { color: red }' }]) value.push(drawn(await p.screenshot(options)));
    value.push(drawn(await p.locator('#b').screenshot()), drawn(await (await p.$('h1')).screenshot()));
    return value;
  },
  'screenshots of a phone': async ({ browser }) => {
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 3, isMobile: true });
    const p = await context.newPage();
    await p.setContent(body);
    const value = [drawn(await p.screenshot()), drawn(await p.screenshot({ scale: 'css' }))];
    await context.close();
    return value;
  },
  'pdf': async ({ page }) => {
    const p = await page();
    await p.setContent(body);
    const value = [];
    for (const options of [{}, { format: 'A0', landscape: true, printBackground: true }, { width: '20cm', height: '5in', margin: { top: 10, left: '1in' }, scale: 0.5 }, { pageRanges: '1', displayHeaderFooter: true, headerTemplate: '<i>top</i>', footerTemplate: '<span class=pageNumber></span>' },
      { preferCSSPageSize: true, tagged: true, outline: true }]) value.push(document(await p.pdf(options)));
    return value;
  },
  'aria snapshots': async ({ page, site }) => {
    const p = await page();
    await p.setContent('<main><h2>Head</h2><ul><li><a href=/x>link</a><li><button disabled>b</button></ul><input type=checkbox checked aria-label=check><table><tr><td>1<td>2</table></main>');
    return [await p.locator('body').ariaSnapshot(), await p.ariaSnapshot(), await p.locator('main').ariaSnapshotJSON().catch(e => e.message)];
  },
};
