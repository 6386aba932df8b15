import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff, pause } from '../dist/backoff.js';
import { Imapi } from '../dist/index.js';
import { fill } from '../dist/http.js';
import { Parser } from '../dist/sse.js';
import { Seen } from '../dist/seen.js';
import { takeEvents } from '../dist/events.js';

/** Parses a stream that comes in parts. */
function parse(...parts) {
  const parser = new Parser();
  const blocks = [];
  for (const part of parts) blocks.push(...parser.parse(typeof part === 'string' ? new TextEncoder().encode(part) : part));
  return { blocks, retry: parser.retry };
}

test('the parser reads a stream as the HTML standard says', () => {
  const cases = {
    'an event': ['id: 1\nevent: ready\ndata: {}\n\n', [{ event: 'ready', id: '1', data: '{}' }]],
    'several lines of data': ['data: a\ndata\ndata:b\ndata:  c\n\n', [{ event: '', data: 'a\n\nb\n c' }]],
    'comments and unknown fields': [': hi\nfoo: bar\ndata: a\n\n', [{ event: '', data: 'a' }]],
    'an id without data': [':\nid: 7\n\ndata: a\n\n', [{ event: '', id: '7' }, { event: '', data: 'a' }]],
    'a heartbeat before an event': [':\nid: 7\nid: 8\ndata: a\n\n', [{ event: '', id: '8', data: 'a' }]],
    'no empty line at the end': ['data: a\n\ndata: b\n', [{ event: '', data: 'a' }]],
    'an event without data and id': ['event: x\n\ndata: a\n\n', [{ event: '', data: 'a' }]],
    'CR': ['data: a\r\rdata: b\r\r', [{ event: '', data: 'a' }, { event: '', data: 'b' }]],
    'CRLF': ['data: a\r\n\r\ndata: b\r\n\r\n', [{ event: '', data: 'a' }, { event: '', data: 'b' }]],
    'a byte order mark': ['\ufeffdata: a\n\ndata: \ufeff\n\n', [{ event: '', data: 'a' }, { event: '', data: '\ufeff' }]],
    'an id with NUL': ['id: a\0b\ndata: a\n\n', [{ event: '', data: 'a' }]],
    'an empty id': ['id\ndata: a\n\n', [{ event: '', id: '', data: 'a' }]],
    'text of all lengths': ['data: é上👋\n\n', [{ event: '', data: 'é上👋' }]],
  };
  for (const [name, [text, want]] of Object.entries(cases)) {
    assert.deepEqual(parse(text).blocks, want, name);
    const bytes = new TextEncoder().encode(text);
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.deepEqual(parse(bytes.subarray(0, cut), bytes.subarray(cut)).blocks, want, `${name}, cut at ${cut}`);
    }
    assert.deepEqual(parse(...Array.from(bytes, byte => Uint8Array.of(byte))).blocks, want, `${name}, byte by byte`);
  }
  assert.deepEqual(parse(new Uint8Array([...new TextEncoder().encode('data: '), 0xff, 10, 10])).blocks, [{ event: '', data: '\ufffd' }]);
});

test('the parser reads retry values', () => {
  for (const [text, want] of [['retry: 250\n', 250], ['retry: 1\nretry: 2\n\n', 2], ['retry: -1\n', undefined],
    ['retry: 1.5\n', undefined], ['retry:\n', undefined], ['retry: 99999999999999999999999\n', 3_600_000]]) {
    assert.equal(parse(text).retry, want, text);
  }
});

test('a block that is too large ends the stream', () => {
  const part = 'x'.repeat(1 << 20);
  assert.throws(() => parse('data: ', part, part, part, part, part), /too large/);
  assert.throws(() => parse(...Array.from({ length: 5 }, () => `data: ${part}\n`)), /too large/);
  assert.equal(parse(...Array.from({ length: 8 }, () => `data: ${part}\n\n`)).blocks.length, 8);
});

test('the wait doubles up to its limit, with jitter', () => {
  const waits = (backoff, n) => Array.from({ length: n }, () => backoff.next());
  assert.deepEqual(waits(new Backoff(1000, 30_000, () => 0), 7), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  assert.deepEqual(waits(new Backoff(1000, 30_000, () => 0.9999), 2), [1500, 3000]);
  const backoff = new Backoff(0, 30_000, () => 0);
  assert.deepEqual(waits(backoff, 2), [10, 20], 'never a busy loop');
  backoff.reset();
  backoff.base = 60_000;
  assert.deepEqual(waits(backoff, 2), [60_000, 60_000], 'the server may ask for more than the limit');
  assert.equal(waits(new Backoff(1000, 30_000, () => 0), 2000).at(-1), 30_000);
});

test('a wait ends early by a signal, or when the browser is online again', async () => {
  const began = performance.now();
  await pause(600_000, AbortSignal.abort());
  const stop = new AbortController();
  const aborted = pause(600_000, stop.signal);
  stop.abort();
  await aborted;

  const browser = new EventTarget();
  Object.assign(globalThis, {
    addEventListener: browser.addEventListener.bind(browser), removeEventListener: browser.removeEventListener.bind(browser),
  });
  const online = pause(600_000, undefined);
  browser.dispatchEvent(new Event('online'));
  await online;
  delete globalThis.addEventListener;
  delete globalThis.removeEventListener;
  await pause(20, undefined);
  assert.ok(performance.now() - began < 60_000);
});

test('the latest ids are remembered', () => {
  const seen = new Seen();
  for (let i = 0; i < 2000; i++) assert.ok(seen.add(`${i}`));
  assert.ok(!seen.add('1999') && !seen.add('976'), 'the last 1,024');
  assert.ok(seen.add('975'));
  seen.clear();
  assert.ok(seen.add('1999'));
});

test('an event is taken once', () => {
  const take = takeEvents('c0');
  const event = (type, id, block) => take({ event: type, ...(block && { id: block }), data: JSON.stringify({ type, ...(id && { id }) }) }).item;
  assert.ok(event('ready', 'c0', 'c0'), 'ready has the cursor of the client');
  assert.equal(event('message.created', 'c0', 'c0'), undefined, 'the cursor was handled before');
  assert.ok(event('message.created', 'c1', 'c1'));
  assert.equal(event('message.created', 'c1', 'c1'), undefined);
  assert.ok(event('command'), 'a command has no id');
  assert.ok(event('command', undefined, 'c1'), 'a heartbeat came before it');
  assert.ok(event('reset', 'c5', 'c5'));
  assert.ok(event('message.created', 'c1', 'c1'), 'the log began anew');
  assert.deepEqual(take({ event: '', id: 'c9' }), {});
});

test('parameters are encoded', () => {
  assert.equal(fill('/v1/conversations/{conversation}/messages', { conversation: '@bob' }, { limit: 2, before_seq: undefined }), '/v1/conversations/@bob/messages?limit=2');
  assert.equal(fill('/v1/messages/search', {}, { q: 'a&b =上', type: null }), '/v1/messages/search?q=a%26b+%3D%E4%B8%8A');
  assert.equal(fill('/v1/blocks/{user}', { user: '../a/b?c#d%e' }), '/v1/blocks/..%2Fa%2Fb%3Fc%23d%25e');
  for (const user of ['', '.', '..', undefined, null]) {
    assert.throws(() => fill('/v1/spaces/{space}/roles/{user}/members', { space: 's', user }), /user is/, `${user}`);
  }
});

test('the server is an http or https URL', () => {
  for (const server of ['ftp://a', 'a', '', 'javascript:alert(1)']) assert.throws(() => new Imapi(server), TypeError, server);
  for (const device of ['', 'é', 'a\nb', 'x'.repeat(129)]) assert.throws(() => new Imapi('https://a', { device }), /device/, device);
  new Imapi('https://chat.example/imapi', { device: 'laptop 2' });
  new Imapi(new URL('http://127.0.0.1:8080/'));
});
