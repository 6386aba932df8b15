// The client in a real Chromium, in a page of another origin than the server's.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { assertDelivered, clientOf, Senders, serverFor, text, until } from './help.mjs';

let browser, site, origin;
before(async () => {
  site = createServer((request, response) => {
    const isPage = request.url === '/';
    response.setHeader('Content-Type', isPage ? 'text/html' : 'text/javascript');
    response.end(isPage ? '<!doctype html><title>test</title><link rel="icon" href="data:,">' : readFileSync(new URL('..' + request.url, import.meta.url)));
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  origin = `http://127.0.0.1:${site.address().port}`;
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(async () => {
  await browser?.close();
  site.close();
});

/** Opens a page that has the client of a user as window.client, and collects what it tells. */
async function open(t, server, user, ...flags) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const got = { events: [], states: [], cursors: [], faults: [], tokens: 0 };
  page.on('pageerror', error => got.faults.push(`${error}`));
  await page.exposeFunction('tell', (what, value) => { got[what].push(value); });
  await page.exposeFunction('newToken', () => {
    got.tokens++;
    return server.token(user, ...flags);
  });
  await page.goto(origin);
  await page.evaluate(async url => {
    const { Imapi } = await import('/dist/index.js');
    let token;
    window.client = new Imapi(url, {
      token: async ({ refused }) => {
        if (token === undefined || refused === token) token = await window.newToken();
        return token;
      },
      device: 'tab',
      sendTimeout: 1000,
    });
    window.follow = options => {
      window.stop = new AbortController();
      window.done = window.client.listen({ '*': event => window.tell('events', event) }, {
        minBackoff: 50,
        signal: window.stop.signal,
        onState: ({ error, ...state }) => window.tell('states', { ...state, ...(error && { error: `${error}`, kind: error.kind }) }),
        onCursor: cursor => window.tell('cursors', cursor),
        ...options,
      });
    };
  }, server.url);
  const count = type => got.events.filter(event => event.type === type).length;
  return { page, context, got, count };
}

const start = t => serverFor(t, '--cors-origins', origin);

test('a page follows the stream while the server is killed, and sends', async t => {
  const server = await start(t);
  const { page, got, count } = await open(t, server, 'bob');
  await page.evaluate(() => window.follow());
  await until('ready', () => count('ready') === 1);
  const alice = await clientOf(server, 'alice', { sendTimeout: 1000 });
  const senders = new Senders(alice, '@bob', 2);
  const rounds = ['SIGKILL', 'SIGTERM', 'SIGKILL'];
  for (const [round, signal] of rounds.entries()) {
    await until('news', () => count('message.created') > 10 * (round + 1));
    await server.end(signal);
    await until('the loss is noticed', () => got.states.at(-1).state === 'waiting');
    const sent = page.evaluate(n => window.client.send('@carol', { type: 'text', body: { text: `${n}` } }), round);
    await server.startAgain();
    assert.equal((await sent).seq, round + 1, 'a message outlives the restart');
    await until('ready', () => count('ready') === round + 2);
  }
  const acknowledged = await senders.stop();
  await until('all', () => count('message.created') >= acknowledged.length);
  await page.evaluate(() => { window.stop.abort(); return window.done; });
  assertDelivered(got.events, acknowledged);
  assert.deepEqual(got.states.at(-1), { state: 'closed' });
  assert.equal(new Set(got.cursors).size, got.cursors.length);
  assert.deepEqual(got.faults, []);
});

test('a page renews its token', async t => {
  const server = await start(t);
  const { page, got, count } = await open(t, server, 'bob', '--ttl', '2s');
  const alice = await clientOf(server, 'alice');
  await page.evaluate(() => window.follow());
  await until('ready', () => count('ready') === 1);
  const senders = new Senders(alice, '@bob', 1);
  await until('three connections', () => count('ready') === 3);
  const acknowledged = await senders.stop();
  await until('all', () => count('message.created') >= acknowledged.length);
  assertDelivered(got.events, acknowledged);
  assert.ok(got.tokens >= 2);
});

test('a page that is online again reconnects at once', async t => {
  const server = await start(t);
  const { page, context, got, count } = await open(t, server, 'bob');
  await page.evaluate(() => window.follow({ minBackoff: 600_000, maxBackoff: 600_000 }));
  await until('ready', () => count('ready') === 1);
  await context.setOffline(true);
  await server.end('SIGKILL'); // Chromium keeps open connections when it goes offline
  await until('it waits', () => got.states.at(-1).state === 'waiting');
  assert.ok(got.states.at(-1).wait > 1000, 'for the retry of the server at least');
  assert.equal(got.states.at(-1).kind, 'connection_lost');
  await server.startAgain();
  await context.setOffline(false);
  await until('ready', () => count('ready') === 2);
  assert.deepEqual(got.faults, []);
});

test('a page reads errors, files and data streams', async t => {
  const server = await start(t);
  const { page, got } = await open(t, server, 'bob');
  const outcome = await page.evaluate(async () => {
    const { client } = window;
    const { Problem, TransportError, Imapi } = await import('/dist/index.js');
    const fail = promise => promise.catch(error => error);
    const refused = await fail(client.post('/v1/spaces', { body: { name: '' } }));
    const nobody = new Imapi('http://127.0.0.1:9', { sendTimeout: 50 });
    const lost = await fail(nobody.send('@carol', { type: 'text', body: { text: 'hi' } }));

    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 480 });
    const context = canvas.getContext('2d');
    for (let i = 0; i < 48; i++) {
      context.fillStyle = `hsl(${i * 8} 90% 50%)`;
      context.fillRect(0, i * 10, 640, 10);
    }
    const picture = new File([await new Promise(done => canvas.toBlob(done))], '猫.png');
    const progress = [];
    const attachment = await client.upload(picture, { onProgress: (sent, total) => progress.push([sent, total]) });
    const late = new AbortController();
    const aborted = await fail(client.upload(new Blob([new Uint8Array(5e6)]), {
      signal: late.signal, onProgress: () => late.abort(new Error('enough')),
    }));
    const empty = await fail(client.upload(new Blob([]), { onProgress() {} }));
    await client.send('@carol', { type: 'image', body: { attachment_id: attachment.id } });
    let thumbnail;
    for (;;) {
      thumbnail = await fail(client.download(attachment.id, { thumbnail: true }).then(answer => answer.blob()));
      if (thumbnail instanceof Blob) break;
      if (thumbnail.code !== 'thumbnail_pending') throw thumbnail;
      await new Promise(done => setTimeout(done, 100));
    }
    const file = await (await client.download(attachment.id)).arrayBuffer();

    const { id } = await client.post('/v1/streams', { body: { access: 'anyone' } });
    const pusher = client.push(id);
    for (let i = 1; i <= 100; i++) await pusher.text(`${i}`);
    const pushed = await pusher.close();
    const frames = [];
    for await (const item of client.frames(id)) {
      if (item.type === 'stream.frame') frames.push(item.text);
      if (frames.length === 100 && item.type === 'stream.frame') await client.post('/v1/streams/{stream}/end', { path: { stream: id } });
      if (item.type === 'stream.ended') frames.push(item.reason);
    }
    return {
      refused: [refused instanceof Problem, refused.status, refused.code, refused.field],
      lost: [lost instanceof TransportError, lost.kind, typeof lost.clientId],
      progress: [progress.length > 0, progress.at(-1)?.[0] === picture.size, progress.at(-1)?.[1] === picture.size],
      aborted: aborted.message,
      empty: empty.code,
      name: attachment.name,
      same: file.byteLength === picture.size,
      width: (await createImageBitmap(thumbnail)).width,
      pushed, frames,
    };
  });
  assert.deepEqual(outcome, {
    refused: [true, 400, 'invalid_request', 'name'],
    lost: [true, 'connection_lost', 'string'],
    progress: [true, true, true],
    aborted: 'enough',
    empty: 'invalid_request',
    name: '猫.png',
    same: true,
    width: 320,
    pushed: { frames: 100, last_id: 100 },
    frames: [...Array.from({ length: 100 }, (_, i) => `${i + 1}`), 'owner'],
  });
  assert.deepEqual(got.faults, []);
});

test('a server may be relative to the page', async t => {
  const server = await start(t);
  const { page } = await open(t, server, 'bob');
  const asked = await page.evaluate(async () => {
    const { Imapi } = await import('/dist/index.js');
    const urls = [];
    for (const server of ['/', '/chat', 'chat/?x', new URL('https://chat.example')]) {
      const client = new Imapi(server, { fetch: async url => { urls.push(url); return Response.json({}); } });
      await client.get('/healthz');
    }
    return urls;
  });
  assert.deepEqual(asked, [`${origin}/healthz`, `${origin}/chat/healthz`, `${origin}/chat/healthz`, 'https://chat.example/healthz']);
});

test('Retry-After is read across origins', async t => {
  const server = await serverFor(t, '--cors-origins', origin, '--rate', '1/s');
  const { page } = await open(t, server, 'bob');
  const waits = await page.evaluate(async () => {
    for (;;) {
      const error = await window.client.get('/v1/unread').then(() => undefined, error => error);
      if (error) return [error.code, error.retryAfter >= 1];
    }
  });
  assert.deepEqual(waits, ['rate_limited', true]);
});
