// Reads the stream with libraries for event streams: none may dispatch a heartbeat as a message,
// and each must resume after a restart without losing or repeating an event.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource } from 'eventsource';
import { createParser } from 'eventsource-parser';
import { Server } from './server.mjs';

const types = ['message', 'ready', 'reset', 'conversation.created', 'message.created'];

/** What a library dispatched. */
class Handler {
  name;
  got = [];
  last = '';

  constructor(name) { this.name = name; }

  take(event, data, id) {
    this.got.push({ event, data });
    if (id) this.last = id;
  }

  count(event) { return this.got.filter(got => got.event === event).length; }
}

// ---- the libraries ----

const libraries = {
  'eventsource': (url, token, handler) => {
    const source = new EventSource(url, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers(token, 'eventsource') } }),
    });
    for (const type of types) source.addEventListener(type, frame => handler.take(frame.type, frame.data, frame.lastEventId));
  },
  '@microsoft/fetch-event-source': (url, token, handler) => {
    // Browser globals that the library needs.
    globalThis.window ??= globalThis;
    globalThis.document ??= { hidden: false, addEventListener() {}, removeEventListener() {} };
    fetchEventSource(url, {
      headers: headers(token, 'fetch-event-source'),
      openWhenHidden: true,
      onmessage: frame => handler.take(frame.event, frame.data, frame.id),
      onclose() { throw new Error('the server ended the stream'); },
      onerror: () => 200,
    }).catch(error => handler.take('failed', String(error)));
  },
  'eventsource-parser': (url, token, handler) => reconnecting(url, token, handler, () => createParser({
    onEvent: frame => handler.take(frame.event, frame.data, frame.id),
    onError: error => handler.take('failed', String(error)),
  })),
  // This library is not available for Node.js, but its rule is short: a chunk ends with an empty
  // line, comments are ignored, the last field of a name counts, and a chunk without data is no
  // event.
  'the rule of sseclient-py': (url, token, handler) => reconnecting(url, token, handler, () => {
    let text = '';
    return {
      feed(part) {
        const chunks = (text + part).split(/(?<=\n\n|\r\r|\r\n\r\n)/);
        text = /(\n\n|\r\r|\r\n\r\n)$/.test(chunks.at(-1)) ? '' : chunks.pop();
        for (const chunk of chunks) {
          const event = { event: 'message', data: '', id: undefined };
          for (const line of chunk.split(/\r\n|\r|\n/)) {
            if (!line.trim() || line.startsWith(':')) continue;
            const [field, value] = [line.split(':', 1)[0], line.slice(line.indexOf(':') + 1).replace(/^ /, '')];
            if (field === 'data') event.data += value + '\n';
            else if (field in event || field === 'retry') event[field] = value;
          }
          if (event.data) handler.take(event.event, event.data.slice(0, -1), event.id);
        }
      },
    };
  }),
};

function headers(token, device) {
  return { Authorization: `Bearer ${token}`, 'X-Device-Id': device };
}

/** Feeds a parser that opens no connection itself. */
async function reconnecting(url, token, handler, makeParser) {
  for (; ; await sleep(200)) {
    try {
      const answer = await fetch(url, { headers: { ...headers(token, handler.name), ...(handler.last && { 'Last-Event-ID': handler.last }) } });
      const parser = makeParser();
      for await (const part of answer.body.pipeThrough(new TextDecoderStream())) parser.feed(part);
    } catch { /* the server is down */ }
  }
}

// ---- the test ----

async function main() {
  const server = await Server.start();
  const url = server.url + '/v1/events';
  const [alice, bob] = [await server.token('alice'), await server.token('bob')];
  const handlers = Object.entries(libraries).map(([name, open]) => {
    const handler = new Handler(name);
    open(url, bob, handler);
    return handler;
  });
  const raw = { text: '' };
  reconnecting(url, bob, new Handler('raw'), () => ({ feed(part) { raw.text += part; } }));

  await until('all are open', () => handlers.every(handler => handler.count('ready') === 1));
  await say(server, alice, 'one');
  await until('all hear the first', () => handlers.every(handler => handler.count('message.created') === 1));
  const beats = () => raw.text.match(/^:\nid: \S+\n/mg)?.length ?? 0;
  await until('three heartbeats', () => beats() >= 3);
  await say(server, alice, 'two');
  await until('all hear the second', () => handlers.every(handler => handler.count('message.created') === 2));
  const again = beats();
  await until('one more heartbeat', () => beats() > again); // unfinished when the connection ends
  await server.end('SIGTERM');
  await server.startAgain();
  await until('all are open again', () => handlers.every(handler => handler.count('ready') === 2));
  await say(server, alice, 'three');
  await until('all hear the third', () => handlers.every(handler => handler.count('message.created') === 3));

  const want = ['ready', 'conversation.created', 'message.created', 'message.created', 'ready', 'message.created'];
  for (const handler of handlers) {
    assert.deepEqual(handler.got.map(got => got.event), want, handler.name);
    const events = handler.got.map(got => JSON.parse(got.data));
    assert.deepEqual(events.map(event => event.type), want, handler.name);
    const texts = events.filter(event => event.message).map(event => event.message.body.text);
    assert.deepEqual(texts, ['one', 'two', 'three'], handler.name);
    console.log(`ok  ${handler.name}`);
  }
  // A parser that splits at empty lines gets data with each.
  for (const block of raw.text.split('\n\n').slice(0, -1)) assert.match(block, /^data: \{/m);
}

async function say(server, token, text) {
  const answer = await fetch(server.url + '/v1/conversations/@bob/messages', {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ type: 'text', body: { text } }),
  });
  assert.equal(answer.status, 201);
}

async function until(what, condition) {
  for (const end = Date.now() + 120_000; !condition(); await sleep(20)) {
    if (Date.now() > end) throw new Error(`waited 120 s until ${what}`);
  }
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
await main();
process.exit(0);
