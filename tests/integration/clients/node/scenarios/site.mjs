// The application that the scenarios use.
import crypto from 'node:crypto';
import http from 'node:http';

const html = body => ['text/html', '<!doctype html><meta charset=utf-8><title>Site</title>' + body];
const echoed = ['x-one', 'x-two', 'accept-language', 'authorization', 'cookie', 'content-type', 'user-agent'];

const pages = {
  '/': () => html('<h1>Hello</h1><a href="/next">next</a> <a href="/popup" target=_blank rel=opener>popup</a>'),
  '/next': () => html('<h1>Next</h1>'),
  '/popup': () => html('<h1>Popup</h1><script>opener && opener.postMessage("from the popup", "*")</script>'),
  '/form': () => html('<form action="/echo" method=post><label>Name <input name=who></label><button>Send</button></form>'),
  '/frames': () => html('<iframe name=one src="/next"></iframe><iframe name=two srcdoc="<b>inside</b>"></iframe>'),
  '/shift': () => ['text/javascript', 'addEventListener("message", e => postMessage(e.data + 1)); self.answer = 42;'],
  '/sw.js': () => ['text/javascript', 'self.addEventListener("install", () => self.skipWaiting()); self.addEventListener("activate", e => e.waitUntil(clients.claim()));'
    + 'self.addEventListener("fetch", e => { if (e.request.url.endsWith("/by-worker")) e.respondWith(new Response("from the service worker")); });'],
  '/data.json': () => ['application/json', '{"a": [1, 2, {"b": "c"}]}'],
  '/style.css': () => ['text/css', 'h1 { color: rgb(1, 2, 3); } .unused { color: red; }'],
};

// serve starts it on a port of its own. Of messages that a WebSocket gets, it takes short ones.
export async function serve() {
  const server = http.createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://x');
    const body = Buffer.concat(await request.toArray());
    if (pathname === '/echo') {
      const headers = Object.fromEntries(echoed.filter(h => request.headers[h]).map(h => [h, request.headers[h].replace(/boundary=.*/, 'boundary')]));
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ method: request.method, headers, bytes: body.length, body: body.length < 300 && !headers['content-type']?.includes('boundary') ? body.toString() : '' }));
    } else if (pathname === '/redirect') {
      response.writeHead(302, { Location: '/next' }).end();
    } else if (pathname === '/cookie') {
      response.writeHead(200, { 'Set-Cookie': ['a=b; Path=/', 'secret=1; HttpOnly; Path=/'], 'Content-Type': 'text/html' }).end('<title>Cookie</title>');
    } else if (pathname === '/private') {
      const known = request.headers.authorization === 'Basic ' + Buffer.from('me:pass').toString('base64');
      response.writeHead(known ? 200 : 401, { 'WWW-Authenticate': 'Basic realm="site"', 'Content-Type': 'text/html' }).end(known ? '<title>Private</title>' : 'no');
    } else if (pathname === '/file') {
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Disposition': 'attachment; filename="report.bin"' }).end(Buffer.alloc(3 << 20, 'r'));
    } else if (pathname === '/endless') {
      response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Disposition': 'attachment; filename="endless.bin"' });
      response.write(Buffer.alloc(1 << 10));
    } else if (pages[pathname]) {
      const [type, text] = pages[pathname]();
      response.writeHead(200, { 'Content-Type': type }).end(text);
    } else {
      response.writeHead(404, { 'Content-Type': 'text/plain' }).end('not here');
    }
  });
  server.on('upgrade', (request, socket) => {
    const accept = crypto.createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.on('error', () => {});
    socket.on('data', frame => {
      if ((frame[0] & 15) !== 1) return socket.end();
      const n = frame[1] & 127, key = frame.subarray(2, 6);
      const text = 'echo ' + Buffer.from(frame.subarray(6, 6 + n).map((c, i) => c ^ key[i & 3]));
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)]));
    });
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const host = `127.0.0.1:${server.address().port}`;
  return {
    host, url: `http://${host}`,
    close: () => { server.closeAllConnections(); return new Promise(done => server.close(done)); },
  };
}
