import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Imapi, Problem, TransportError } from '../dist/index.js';
import { assertDelivered, clientOf, Link, Reader, Senders, serverFor, text, until } from './help.mjs';

test('a stream survives SIGKILL and SIGTERM: no event is lost or repeated', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice', { sendTimeout: 1000 });
  const bob = await clientOf(server, 'bob');
  const reader = new Reader(options => bob.events(options));
  await reader.until('ready');
  const senders = new Senders(alice, '@bob', 3);

  const rounds = ['SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGKILL', 'SIGTERM'];
  for (const [round, signal] of rounds.entries()) {
    await reader.until('message.created', 10 * (round + 1));
    await server.end(signal);
    await until('the loss is noticed', () => reader.states.at(-1).state === 'waiting');
    await server.startAgain();
    await reader.until('ready', round + 2);
  }
  const acknowledged = await senders.stop();
  await reader.until('message.created', acknowledged.length);
  await alice.send('@bob', text('last'));
  await reader.until('message.created', acknowledged.length + 1);
  await reader.stop();
  assertDelivered(reader.items.slice(0, -1), acknowledged);

  const states = reader.states.map(({ state }) => state);
  assert.deepEqual(states.slice(0, 3), ['connecting', 'open', 'waiting']);
  assert.equal(states.filter(state => state === 'open').length, rounds.length + 1);
  assert.deepEqual(reader.states.at(-1), { state: 'closed' });
  for (const { error, wait } of reader.states.filter(({ state }) => state === 'waiting')) {
    assert.ok(error instanceof TransportError || error instanceof Problem, `${error}`);
    assert.ok(wait > 0, `${wait}`);
  }
  assert.equal(reader.stream.cursor, reader.cursors.at(-1));
  assert.equal(new Set(reader.cursors).size, reader.cursors.length, 'the cursor moves forward');
});

test('a replay that is cut again and again goes on where it was', async t => {
  const server = await serverFor(t);
  const link = await Link.to(t, server);
  const alice = await clientOf(server, 'alice');
  const bob = new Imapi(link.url, { token: await server.token('bob') });
  let cursor;
  for await (const event of bob.events()) {
    cursor = event.id;
    break;
  }
  const many = 600;
  const acknowledged = [];
  for (let n = 0; n < many; n += 20) {
    acknowledged.push(...await Promise.all(Array.from({ length: 20 }, (_, i) => alice.send('@bob', text(`${n + i} ${'x'.repeat(2000)}`)))));
  }
  acknowledged.sort((a, b) => a.seq - b.seq);
  const events = [], states = [];
  link.limit = 700_000; // in the middle of an event
  for await (const event of bob.events({ cursor, minBackoff: 1, maxBackoff: 20, onState: ({ state }) => states.push(state) })) {
    events.push(event);
    if (event.type === 'message.created' && event.seq === many) break;
  }
  assertDelivered(events, acknowledged);
  assert.equal(states.filter(state => state === 'open').length, 3, `${states}`);
});

test('a program that restarts resumes at the stored cursor', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice');
  const bob = await clientOf(server, 'bob');
  const got = [];
  let cursor;
  // Each program ends in the middle of an event, at which its cursor does not move.
  for (let n = 0; n < 4; n++) {
    const options = { cursor, onCursor: moved => { cursor = moved; } };
    for await (const event of bob.events(options)) {
      if (event.type === 'ready' && n === 0) for (let i = 0; i < 8; i++) await alice.send('@bob', text(`${i}`));
      if (event.type !== 'message.created') continue;
      if (got.length === 2 * (n + 1)) break;
      got.push(event.message.body.text);
      if (got.length === 8) break;
    }
  }
  assert.deepEqual(got, ['0', '1', '2', '3', '4', '5', '6', '7']);
});

test('a cursor that the server does not know gives reset', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice');
  const bob = await clientOf(server, 'bob');
  const reader = new Reader(options => bob.events(options), { cursor: 'from another server' });
  await reader.until('reset');
  await alice.send('@bob', text('hi'));
  await reader.until('message.created');
  assert.deepEqual(reader.items.map(event => event.type), ['ready', 'reset', 'conversation.created', 'message.created']);
  await reader.stop();
});

test('a connection on which nothing arrives is replaced', async t => {
  const server = await serverFor(t);
  const link = await Link.to(t, server);
  const alice = await clientOf(server, 'alice');
  const bob = new Imapi(link.url, { token: await server.token('bob') });
  const reader = new Reader(options => bob.events(options), { idleTimeout: 1500 });
  await reader.until('ready');
  await alice.send('@bob', text('one'));
  await reader.until('message.created');
  link.stalled = true;
  await alice.send('@bob', text('two'));
  await until('the connection is given up', () => reader.states.some(({ state, error }) => state === 'waiting' && /nothing received/.test(error.message)));
  link.stalled = false;
  link.cut(); // those that were made meanwhile
  await reader.until('message.created', 2);
  assert.deepEqual(reader.of('message.created').map(event => event.message.body.text), ['one', 'two']);
  await reader.stop();
});

test('a slow loop loses neither the connection nor an event', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice');
  const bob = await clientOf(server, 'bob');
  const states = [], got = [];
  for await (const event of bob.events({ idleTimeout: 5000, onState: state => states.push(state.state) })) {
    if (event.type === 'ready') for (let i = 0; i < 3; i++) await alice.send('@bob', text(`${i}`));
    if (event.type !== 'message.created') continue;
    if (event.seq === 1) await sleep(5500);
    got.push(event.seq);
    if (got.length === 3) break;
  }
  assert.deepEqual(got, [1, 2, 3]);
  assert.deepEqual(states, ['connecting', 'open', 'closed']);
});

test('a signal ends a stream, whatever it is doing', async t => {
  const server = await serverFor(t);
  const bob = await clientOf(server, 'bob');

  const open = new Reader(options => bob.events(options));
  await open.until('ready');
  await open.stop();
  assert.deepEqual(open.states.map(({ state }) => state), ['connecting', 'open', 'closed']);

  await server.end('SIGKILL');
  const waiting = new Reader(options => bob.events(options), { minBackoff: 600_000 });
  await until('it waits', () => waiting.states.at(-1)?.state === 'waiting');
  assert.equal(waiting.states.at(-1).error.kind, 'unreachable');
  await waiting.stop();

  const aborted = AbortSignal.abort();
  for await (const event of bob.events({ signal: aborted })) assert.fail(event.type);

  const never = new Imapi(server.url, { token: () => new Promise(() => {}) });
  const tokenless = new Reader(options => never.events(options));
  await until('it asks for a token', () => tokenless.states.length === 1);
  await tokenless.stop();

  // A waiting next does not keep return waiting.
  await server.startAgain();
  const stream = bob.events();
  assert.equal((await stream.next()).value.type, 'ready');
  const next = stream.next();
  await stream.return();
  assert.deepEqual(await next, { done: true, value: undefined });
});

test('handlers are called in order, one at a time', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice');
  const bob = await clientOf(server, 'bob');
  const stop = new AbortController();
  const calls = [];
  let running = 0;
  await bob.listen({
    'ready': async () => {
      for (let i = 0; i < 3; i++) await alice.send('@bob', text(`${i}`));
      await alice.command('@bob', { body: { action: 'typing' } });
    },
    'message.created': async event => {
      assert.equal(++running, 1);
      await sleep(20);
      calls.push(event.seq);
      running--;
    },
    'command': event => {
      calls.push(event.action);
      stop.abort();
    },
    '*': event => { calls.push(event.type); },
  }, { signal: stop.signal });
  assert.deepEqual(calls.filter(call => call !== 'conversation.created'),
    ['ready', 1, 'message.created', 2, 'message.created', 3, 'message.created', 'typing', 'command']);

  const failure = new Error('a handler failed');
  const states = [];
  await assert.rejects(bob.listen({ ready: () => { throw failure; } }, { onState: state => states.push(state) }), failure);
  // The loop that called the handler ended: that is not an error of the stream.
  assert.deepEqual(states.at(-1), { state: 'closed' });
});

test('an expired token is replaced, in the stream and in requests', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice', { sendTimeout: 1000 });
  const refusals = [];
  let ttl = '2s';
  let token = await server.token('bob', '--ttl', ttl);
  const bob = new Imapi(server.url, {
    token: async ({ refused }) => {
      if (refused !== undefined) {
        refusals.push(refused);
        if (refused === token) token = await server.token('bob', '--ttl', ttl);
      }
      return token;
    },
  });
  const reader = new Reader(options => bob.events(options));
  await reader.until('ready');
  const senders = new Senders(alice, '@bob', 1);
  await reader.until('ready', 3);
  const acknowledged = await senders.stop();
  await reader.until('message.created', acknowledged.length);
  await reader.stop();
  assertDelivered(reader.items, acknowledged);
  assert.ok(refusals.length >= 1);

  // Many requests with the same refused token ask for another one once.
  token = 'not.a.token';
  ttl = '1h';
  const before = refusals.length;
  const pages = await Promise.all(Array.from({ length: 5 }, () => bob.get('/v1/conversations')));
  assert.ok(pages.every(page => page.items.length === 1));
  assert.equal(refusals.length, before + 1);
});

test('a token that is refused and not replaced ends the stream', async t => {
  const server = await serverFor(t);
  for (const [name, token] of Object.entries({ 'a string': 'not.a.token', 'a function': () => 'not.a.token' })) {
    const client = new Imapi(server.url, { token });
    const reader = new Reader(options => client.events(options));
    await assert.rejects(reader.ended, error => error instanceof Problem && error.status === 401 && error.code === 'token_malformed', name);
    assert.ok(reader.states.at(-1).error instanceof Problem);
    await assert.rejects(client.get('/v1/conversations'), { name: 'Problem', status: 401 });
  }
  // A token that no header can have is a fault that does not pass.
  const odd = new Imapi(server.url, { token: 'a\nb' });
  await assert.rejects(new Reader(options => odd.events(options)).ended, TypeError);
  await assert.rejects(odd.send('@bob', text('hi')), TypeError);

  let asked = 0;
  const failing = new Imapi(server.url, {
    token: async () => {
      if (++asked < 3) throw new Error('offline');
      return server.token('bob');
    },
  });
  const reader = new Reader(options => failing.events(options));
  await reader.until('ready');
  assert.deepEqual(reader.states.filter(({ state }) => state === 'waiting').map(({ error }) => error.message), ['offline', 'offline']);
  await reader.stop();
});

test('an answer that is not an event stream ends it, a failure that may pass does not', async t => {
  const answers = [
    [503, { 'Retry-After': '0' }, ''], [429, {}, ''], [502, { 'Content-Type': 'text/html' }, '<h1>Bad gateway</h1>'],
    [200, { 'Content-Type': 'text/event-stream' }, 'retry: 20\n\n'], [404, { 'Content-Type': 'text/html' }, 'no'],
  ];
  const client = new Imapi('http://127.0.0.1:9/', {
    fetch: async () => {
      const [status, headers, body] = answers.shift();
      return new Response(body, { status, headers });
    },
  });
  const reader = new Reader(options => client.events(options), { minBackoff: 1 });
  await assert.rejects(reader.ended, error => error instanceof Problem && error.status === 404 && error.code === '');
  assert.equal(answers.length, 0);
  assert.deepEqual(reader.states.filter(({ state }) => state === 'open'), []);

  answers.push([200, { 'Content-Type': 'text/html' }, '<h1>Sign in to this network</h1>']);
  await assert.rejects(new Reader(options => client.events(options)).ended, { name: 'TransportError', kind: 'unexpected_answer' });
});
