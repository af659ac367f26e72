// What a picture is of: Chromium draws all of it at once, and ends when it is too large. The guard bounds what calls say of
// sizes; the size of a whole page or of an element is known to the server alone, which says it to the browser.
import { unknownCall } from './answers.mjs';

export const mostPixels = 80e6; // as of the guard, which says why

// picturesWithin looks at calls before they are written. answer(id, sessionId, content) puts an answer in place of a call that is refused.
export function picturesWithin(answer) {
  const scales = new Map(); // by session, pixels of the device to one of CSS where that is not 1

  function judge({ params: { clip, captureBeyondViewport } = {}, sessionId }) {
    if (!clip) // without one Chromium takes the page's whole content, if not just what is in view
      return captureBeyondViewport && 'A picture beyond the viewport needs a clip where a browser is shared. Name one, or use page.screenshot({ fullPage: true }).';
    const scale = (clip.scale ?? 1) * (scales.get(sessionId) ?? 1);
    const [width, height] = [clip.width * scale, clip.height * scale].map(Math.ceil);
    return !(width * height <= mostPixels) &&
      `${width} × ${height} pixels are too many: a picture may have ${mostPixels / 1e6} million where a browser is shared. Take a part of it (clip), or use scale: 'css' or a smaller deviceScaleFactor.`;
  }

  return {
    // refuses tells whether a call is not to be written; it has been answered then.
    refuses(call) {
      const is = method => call.startsWith(`"method":"${method}"`, call.indexOf(',') + 1); // after the id
      if (is('Emulation.setDeviceMetricsOverride')) {
        const { params, sessionId } = JSON.parse(call);
        if (params.deviceScaleFactor > 0 && params.deviceScaleFactor !== 1) scales.set(sessionId, params.deviceScaleFactor);
        else scales.delete(sessionId);
      } else if (is('Emulation.clearDeviceMetricsOverride')) {
        scales.delete(JSON.parse(call).sessionId);
      } else if (is('Page.captureScreenshot')) {
        const picture = JSON.parse(call);
        const why = judge(picture);
        if (why) setImmediate(answer, picture.id, picture.sessionId, { error: { code: unknownCall, message: why } });
        return Boolean(why);
      }
      return false;
    },

    // read takes what the browser says of sessions that have ended. It misses what two buffers have in parts, which costs an
    // entry.
    read(messages) {
      if (!scales.size) return;
      const detached = '{"method":"Target.detachedFromTarget","params":{"sessionId":"';
      for (let at = 0; (at = messages.indexOf(detached, at)) >= 0;) {
        at += detached.length;
        scales.delete(messages.toString('latin1', at, messages.indexOf('"', at)));
      }
    },
    scales, // for tests
  };
}
