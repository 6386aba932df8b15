import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Imapi, Problem, TransportError } from '../dist/index.js';
import { clientOf, Link, Reader, serverFor, text, until } from './help.mjs';

test('a message is sent once more if the answer is lost, and created once', async t => {
  const server = await serverFor(t);
  const link = await Link.to(t, server);
  const alice = new Imapi(link.url, { token: await server.token('alice'), sendTimeout: 1500 });

  link.lose = { request: 'POST', times: 1 };
  const message = await alice.send('@bob', text('hi'));
  assert.equal(link.connections, 2);
  assert.match(message.client_id, /^[0-9a-f]{32}$/);

  link.lose = { request: 'POST', times: 2 };
  const error = await alice.send('@bob', { ...text('again'), client_id: 'mine' }).catch(error => error);
  assert.ok(error instanceof TransportError);
  assert.equal(error.kind, 'connection_lost');
  assert.equal(error.clientId, 'mine');
  assert.equal((await alice.send('@bob', { ...text('again'), client_id: 'mine' })).seq, 2, 'it had been stored');
  assert.equal((await alice.send('@bob', text('hi'))).seq, 3, 'each message gets a client_id of its own');
});

test('what is created is requested once more if the answer is lost, and created once', async t => {
  const server = await serverFor(t);
  const link = await Link.to(t, server);
  const alice = new Imapi(link.url, { token: await server.token('alice'), sendTimeout: 1500 });
  const created = async (path, options) => {
    link.lose = { request: 'POST', times: 1 };
    return alice.create(path, options);
  };
  const group = await created('/v1/conversations', { body: { kind: 'group', name: 'Weekend' } });
  assert.deepEqual((await alice.get('/v1/conversations')).items.map(c => c.id), [group.id]);
  const space = await created('/v1/spaces', { body: { name: 'Club' } });
  assert.deepEqual((await alice.get('/v1/spaces')).items.map(s => s.id), [space.id]);
  const channel = await created('/v1/spaces/{space}/channels', { path: { space: space.id }, body: { name: 'general' } });
  assert.deepEqual((await alice.get('/v1/spaces/{space}/channels', { path: { space: space.id } })).items.map(c => c.id), [channel.id]);
  const root = await alice.send(group.id, text('root'));
  const thread = await created('/v1/messages/{message}/thread', { path: { message: root.id }, body: { name: 'Lunch' } });
  assert.equal(thread.root_id, root.id);

  link.lose = { request: 'POST', times: 2 };
  const own = { body: { name: 'Chess', client_id: 'mine' } };
  await assert.rejects(alice.create('/v1/spaces', own), { kind: 'connection_lost', clientId: 'mine' });
  const chess = await alice.create('/v1/spaces', own);
  assert.equal((await alice.get('/v1/spaces')).items.length, 2, 'it had been created');
  await alice.delete('/v1/spaces/{space}', { path: { space: chess.id } });
  await assert.rejects(alice.create('/v1/spaces', own), { name: 'Problem', status: 410, code: 'conversation_gone' });
});

test('a message outlives a restart of the server', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice', { sendTimeout: 2000 });
  await server.end('SIGKILL');
  const sent = alice.send('@bob', text('hi'));
  await server.startAgain();
  assert.equal((await sent).seq, 1);
});

test('a server that is away is unreachable', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice', { sendTimeout: 100 });
  await server.end('SIGKILL');
  const began = performance.now();
  await assert.rejects(alice.send('@bob', text('hi')), error => error instanceof TransportError &&
    error.kind === 'unreachable' && /^[0-9a-f]{32}$/.test(error.clientId) && /ECONNREFUSED/.test(error.cause.cause.code));
  assert.ok(performance.now() - began >= 95, 'the second attempt waited');
  await assert.rejects(alice.get('/v1/conversations'), { name: 'TransportError', kind: 'unreachable', clientId: undefined });
});

test('a server that does not answer is given up in time', async t => {
  const server = await serverFor(t);
  const link = await Link.to(t, server);
  link.stalled = true;
  const alice = new Imapi(link.url, { token: await server.token('alice'), sendTimeout: 300 });
  await assert.rejects(alice.send('@bob', text('hi')), error => error.kind === 'connection_lost' && /no answer within 300 ms/.test(error.message));

  // A token source that hangs has sent nothing.
  const never = new Imapi(server.url, { token: () => new Promise(() => {}), sendTimeout: 100 });
  await assert.rejects(never.send('@bob', text('hi')), { kind: 'unreachable' });
});

test('a signal ends requests', async t => {
  const server = await serverFor(t);
  const link = await Link.to(t, server);
  link.stalled = true;
  const alice = new Imapi(link.url, { token: await server.token('alice') });
  const reason = new Error('the user left');
  const late = () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 200);
    return { signal: stop.signal };
  };
  await assert.rejects(alice.get('/v1/conversations', late()), reason);
  await assert.rejects(alice.send('@bob', text('hi'), { signal: AbortSignal.abort(reason) }), reason);
  await assert.rejects(alice.send('@bob', text('hi'), late()), error => error.kind === 'connection_lost' && error.cause === reason && error.clientId !== undefined);
  await assert.rejects(alice.upload(new Blob(['x']), late()), reason);
});

test('a refusal is a problem', async t => {
  const server = await serverFor(t, '--rate', '5/s');
  const alice = await clientOf(server, 'alice');
  await assert.rejects(alice.post('/v1/spaces', { body: { name: '' } }), error => error instanceof Problem &&
    error.status === 400 && error.code === 'invalid_request' && error.field === 'name' && error.detail !== '' &&
    error.message === `400 invalid_request: ${error.detail} (name)` && error.retryAfter === undefined);
  await assert.rejects(alice.get('/v1/messages/{message}', { path: { message: 'nothing' } }), { status: 404, code: 'message_not_found' });
  await assert.rejects(alice.send('@alice', text('hi')), { name: 'Problem', code: 'direct_with_self' });
  let limited;
  await until('the rate limit', () => alice.get('/v1/unread').then(() => false, error => { limited = error; return true; }));
  assert.equal(limited.code, 'rate_limited');
  assert.ok(limited.retryAfter >= 1, `${limited.retryAfter}`);
});

test('requests of every kind', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice', { device: 'laptop' });
  const bob = await clientOf(server, 'bob');
  const root = new Imapi(server.url, { token: await server.token('root', '--admin') });

  const group = await alice.post('/v1/conversations', { body: { kind: 'group', name: 'Weekend', members: ['bob', 'a/b c'] } });
  assert.equal((await alice.get('/v1/conversations/{conversation}/members/{user}', { path: { conversation: group.id, user: 'a/b c' } })).user, 'a/b c');
  const path = { conversation: group.id };
  assert.equal((await alice.patch('/v1/conversations/{conversation}', { path, body: { name: 'Next weekend' } })).name, 'Next weekend');
  assert.equal(await alice.put('/v1/blocks/{user}', { path: { user: 'mallory' } }), undefined);
  assert.equal(await alice.delete('/v1/blocks/{user}', { path: { user: 'mallory' } }), undefined);
  assert.equal((await alice.send(group.id, text('hi'))).sender_device, 'laptop');

  for (let i = 0; i < 6; i++) await bob.send(group.id, text(`${i}`));
  const seqs = [];
  for await (const message of alice.list('/v1/conversations/{conversation}/messages', { path, query: { limit: 3 } })) seqs.push(message.seq);
  assert.deepEqual(seqs, [7, 6, 5, 4, 3, 2, 1]);
  for await (const message of alice.list('/v1/conversations/{conversation}/messages', { path })) {
    assert.equal(message.seq, 7);
    break;
  }
  assert.equal((await bob.get('/v1/messages/search', { query: { q: 'hi' } })).items.length, 1);

  const lines = ['1', '2'].map(n => JSON.stringify({ conversation_id: '@carol', sender: 'alice', type: 'text', body: { text: n }, created_at: '2026-01-02T03:04:05.678Z' })).join('\n');
  for (const body of [lines, new Blob([lines]), new Blob([lines]).stream()]) {
    const results = await root.post('/v1/admin/import', { body });
    assert.equal(results.trim().split('\n').length, 2);
  }
  assert.match(await root.get('/v1/admin/export'), /Next weekend/);
  assert.match(await root.get('/openapi.yaml'), /^openapi: 3/);
  assert.match(await root.get('/metrics'), /^# HELP/m);
});

test('a client works below a path and without a token', async t => {
  const server = await serverFor(t);
  const asked = [];
  const client = new Imapi('https://chat.example/imapi?x#y', {
    fetch: (url, init) => {
      asked.push(url);
      return fetch(url.replace('https://chat.example/imapi', server.url), init);
    },
  });
  assert.equal((await client.get('/healthz')).status, 'ok');
  assert.deepEqual(asked, ['https://chat.example/imapi/healthz']);
  await assert.rejects(client.get('/v1/conversations'), { status: 401, code: 'token_missing' });
});

test('files are uploaded and downloaded', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice');
  const bob = await clientOf(server, 'bob');
  const bytes = new Uint8Array(1 << 20).map((_, i) => i);
  const progress = [];
  const attachment = await alice.upload(new File([bytes], '猫.bin'), { onProgress: (sent, total) => progress.push([sent, total]) });
  assert.equal(attachment.size, bytes.length);
  assert.equal(attachment.name, '猫.bin');
  assert.deepEqual(progress.at(-1), [bytes.length, bytes.length]);
  for (const onProgress of [undefined, () => {}]) {
    await assert.rejects(alice.upload(new Blob([]), { onProgress }), { status: 400, code: 'invalid_request' });
  }
  assert.ok(progress.length >= 16 && progress.every(([sent], i) => i === 0 || sent > progress[i - 1][0]), 'it rises');
  assert.equal((await alice.upload(new Blob(['x']), { name: 'x.txt' })).name, 'x.txt');

  let token = 'not.a.token';
  const renewing = new Imapi(server.url, { token: async ({ refused }) => refused ? token = await server.token('alice') : token });
  assert.equal((await renewing.upload(new Blob([bytes]), { onProgress: () => {} })).size, bytes.length, 'once more with another token');

  await assert.rejects(bob.download(attachment.id), { status: 404, code: 'attachment_not_found' });
  await alice.send('@bob', { type: 'file', body: { attachment_id: attachment.id } });
  assert.deepEqual(new Uint8Array(await (await bob.download(attachment.id)).arrayBuffer()), bytes);
  const part = await bob.download(attachment.id, { range: 'bytes=1-3' });
  assert.equal(part.status, 206);
  assert.deepEqual(new Uint8Array(await part.arrayBuffer()), bytes.subarray(1, 4));
  await assert.rejects(bob.download(attachment.id, { thumbnail: true }), { status: 404, code: 'no_thumbnail' });
});

test('a data stream is pushed and read across a lost connection', async t => {
  const server = await serverFor(t);
  const link = await Link.to(t, server);
  const alice = await clientOf(server, 'alice');
  const bob = new Imapi(link.url, { token: await server.token('bob') });
  await alice.send('@bob', text('hi'));
  const { id } = await alice.post('/v1/streams', { body: { conversation_id: '@bob', access: 'members' } });
  const reader = new Reader(options => bob.frames(id, options));
  const pusher = alice.push(id);
  await pusher.text('a', 1);
  await pusher.json({ of: [null, '上'] });
  await pusher.bytes(Uint8Array.of(0, 255, 128), 255);
  await reader.until('stream.frame', 3);
  link.cut();
  const big = 'x'.repeat(100_000);
  for (let i = 0; i < 30; i++) pusher.text(`${i}${big}`); // more than one request
  assert.deepEqual(await pusher.close(), { frames: 33, last_id: 33 });
  await assert.rejects(pusher.text('late'), /closed/);
  await reader.until('stream.frame', 33);
  await alice.post('/v1/streams/{stream}/end', { path: { stream: id }, body: { message: text('done') } });
  await reader.ended;

  const [first, second, third, ...more] = reader.items;
  assert.deepEqual(first, { type: 'stream.frame', id: 1, from: 'alice', dtype: 1, text: 'a' });
  assert.deepEqual(second, { type: 'stream.frame', id: 2, from: 'alice', dtype: 0, json: { of: [null, '上'] } });
  assert.deepEqual(third, { type: 'stream.frame', id: 3, from: 'alice', dtype: 255, bytes: Uint8Array.of(0, 255, 128) });
  const end = more.pop();
  assert.equal(end.type, 'stream.ended');
  assert.equal(end.reason, 'message');
  assert.ok(end.message_id);
  assert.deepEqual(more.map(frame => [frame.id, frame.text]), Array.from({ length: 30 }, (_, i) => [i + 4, `${i}${big}`]), 'each once and in order');
  assert.deepEqual(reader.states.at(-1), { state: 'closed' });

  await assert.rejects(new Reader(options => bob.frames('nothing', options)).ended, { status: 404, code: 'stream_not_found' });
});

test('a pusher waits for its rate limit', async t => {
  const server = await serverFor(t, '--rate', '3/s');
  const alice = await clientOf(server, 'alice');
  const { id } = await alice.post('/v1/streams', { body: { access: 'anyone' } });
  const pusher = alice.push(id);
  let limited = false;
  for (let n = 1; n <= 12; n++) {
    pusher.text(`${n}`);
    await sleep(60);
    limited ||= await alice.get('/v1/unread').then(() => false, error => error.code === 'rate_limited');
  }
  assert.ok(limited);
  assert.deepEqual(await pusher.close(), { frames: 12, last_id: 12 });
});

test('a pusher that is refused says so', async t => {
  const server = await serverFor(t);
  const alice = await clientOf(server, 'alice');
  const bob = await clientOf(server, 'bob');
  const { id } = await alice.post('/v1/streams', { body: { access: 'anyone' } });
  const pusher = bob.push(id);
  await pusher.text('a');
  await assert.rejects(pusher.close(), { name: 'Problem', code: 'not_publisher' });
  await assert.rejects(pusher.text('b'), { name: 'Problem', code: 'not_publisher' });
  assert.deepEqual(await alice.push(id).close(), { frames: 0, last_id: null });

  const root = new Imapi(server.url, { token: await server.token('root', '--admin') });
  const forBob = root.push(id, { as: 'bob' });
  await forBob.text('c');
  assert.deepEqual(await forBob.close(), { frames: 1, last_id: 1 });

  // More than 1 MiB waits for room, and stops waiting when the requests fail.
  const refused = bob.push(id);
  const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => refused.text('x'.repeat(500_000))));
  assert.deepEqual(outcomes.map(({ status }) => status), ['fulfilled', 'fulfilled', 'rejected', 'rejected']);
});
