// Messages and counts of an unusual size, as ordinary scripts have them now and then.
export default {
  'a page of much text': async ({ page }) => {
    const p = await page();
    // Nothing that has to be laid out, which takes far longer than the way here.
    await p.setContent('<script type=text/plain>' + 'x'.repeat(2 << 20) + '</script><p id=end>the end');
    return [await p.textContent('#end'), (await p.content()).length, (await p.evaluate(t => t, 'é"\\'.repeat(1 << 18))).length];
  },
  'many calls at once': async ({ page }) => {
    const p = await page();
    await p.setContent('<b></b>');
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => p.evaluate(n => n * 2, i)));
    return all.reduce((a, b) => a + b);
  },
  'deep values': async ({ page }) => {
    const p = await page();
    let deep = 'end';
    for (let i = 0; i < 20; i++) deep = { deep: [deep] };
    return [JSON.stringify(await p.evaluate(d => d, deep)).length, await p.evaluate(d => [d.date, d.list, d.big, String(d.undef), d.nan, d.expr.source, d.typed],
      { date: new Date(0), list: [1, null, 3], big: 2n ** 70n, undef: undefined, nan: NaN, expr: /a\/b/g, typed: new Uint8Array([1, 2]) }).then(v => JSON.stringify(v, (_, x) => typeof x === 'bigint' ? `${x}n` : x))];
  },
};
