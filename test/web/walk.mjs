// Calls every operation. Each answer has the expected status, and the validating proxy in between
// has found no violation of the OpenAPI document.
import assert from 'node:assert/strict';
import { load } from 'js-yaml';

/** The proxy reads answers to their end, so clients.ts tests the stream instead. */
const notHere = new Set(['getEvents']);

/** The operations of the document: method, path as a pattern, id. */
function operations(document) {
  const list = [];
  let path, method;
  for (const line of document.split('\n')) {
    if (line === 'components:') break;
    const found = /^ {2}(\/\S*):$/.exec(line) ?? /^ {4}(get|put|post|patch|delete):$/.exec(line) ?? /^ {6}operationId: (\w+)$/.exec(line);
    if (!found) continue;
    if (found[1].startsWith('/')) path = found[1];
    else if (line.startsWith('      ')) {
      const pattern = new RegExp('^' + path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+') + '$');
      list.push({ id: found[1], method: method.toUpperCase(), pattern, fixed: !path.includes('{') });
    } else method = found[1];
  }
  // A path without parameters comes before a pattern that also matches it.
  return list.sort((a, b) => b.fixed - a.fixed);
}

/**
 * Checks what Prism says of an answer: with a violation it gives an answer of its own, except that
 * a refusal with a status that the document does not have is only a warning in a header.
 */
export function assertNoViolation(answer, said, what) {
  assert.ok(!said.includes('stoplight.io/prism/errors'), `${what}: ${said}`);
  assert.equal(answer.headers.get('sl-violations'), null, what);
}

/** Calls every operation through a proxy, and returns how many calls it took. */
export async function walk(url, tokens, document) {
  const known = operations(document);
  const called = new Set();
  let calls = 0;

  async function call(status, user, method, path, body, type = 'application/json') {
    calls++;
    const target = path.replace(/\?.*/, '');
    const operation = known.find(o => o.method === method && o.pattern.test(target));
    assert.ok(operation, `${method} ${path} is not in the document`);
    called.add(operation.id);
    const headers = {};
    if (user) headers.Authorization = `Bearer ${tokens[user]}`;
    if (body !== undefined) headers['Content-Type'] = type;
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await fetch(url + path, { method, headers, body: text });
    const said = await answer.text();
    assertNoViolation(answer, said, `${operation.id}: ${method} ${path}`);
    assert.equal(answer.status, status, `${operation.id}: ${method} ${path}: ${said}`);
    return /json$/.test(answer.headers.get('content-type') ?? '') && !/ndjson/.test(answer.headers.get('content-type'))
      ? JSON.parse(said) : said;
  }
  const get = (user, path, status = 200) => call(status, user, 'GET', path);
  const post = (user, path, body, status = 200) => call(status, user, 'POST', path, body);
  const put = (user, path, body, status = 204) => call(status, user, 'PUT', path, body);
  const patch = (user, path, body, status = 200) => call(status, user, 'PATCH', path, body);
  const del = (user, path, status = 204) => call(status, user, 'DELETE', path);
  const say = (user, conversation, text, more) =>
    post(user, `/v1/conversations/${conversation}/messages`, { type: 'text', body: { text }, ...more }, 201);

  // Operations for every user.
  await get('', '/healthz');
  await get('', '/readyz');
  await get('', '/metrics');
  await get('', '/openapi.yaml');

  // Direct messages.
  const hi = await say('alice', '@bob', 'hi', { client_id: 'w-1', ext: { a: [1, null] } });
  await post('alice', '/v1/conversations/@bob/messages', { type: 'text', body: { text: 'hi' }, client_id: 'w-1', ext: { a: [1, null] } }, 200);
  assert.equal((await post('alice', '/v1/conversations/@bob/messages', { type: 'text', body: { text: 'no' }, client_id: 'w-1' }, 409)).code, 'client_id_reused');
  await post('alice', '/v1/conversations/@bob/messages', { type: 'location', body: { latitude: 31.2, longitude: 121.4, address: '上海' } }, 201);
  await post('alice', '/v1/conversations/@bob/messages', { type: 'custom', body: { name: 'order', data: null } }, 201);
  const burning = await say('alice', '@bob', 'burn', { burn: { after_seconds: 0 } });
  const slow = await say('alice', '@bob', 'burn later', { burn: { after_seconds: 60 }, expire_after_seconds: 3600 });
  await get('bob', '/v1/conversations');
  await get('bob', '/v1/conversations?kind=direct&pinned=false&limit=1');
  await get('bob', '/v1/conversations/@alice');
  await get('bob', '/v1/conversations/@alice/messages?limit=2&include_erased=false');
  await get('bob', `/v1/conversations/@alice/messages?around=${hi.id}`);
  await get('bob', `/v1/messages/${hi.id}`);
  await get('bob', '/v1/unread');
  await post('bob', '/v1/conversations/@alice/receipts', { kind: 'delivered', up_to: slow.id });
  await post('bob', '/v1/conversations/@alice/receipts', { kind: 'read', message_ids: [slow.id] });
  await get('alice', `/v1/messages/${hi.id}/receipts`);
  await post('bob', `/v1/messages/${burning.id}/burn`);
  await get('bob', `/v1/messages/${burning.id}`);
  await post('bob', '/v1/conversations/@alice/unread/clear');
  await post('bob', '/v1/unread/clear');
  await patch('bob', '/v1/conversations/@alice', { pinned: true, muted: true });
  await patch('bob', '/v1/conversations/@alice', { settings: { expire_after_seconds: 60, retention_days: null } });
  await get('bob', '/v1/messages/search?q=hi');
  await get('bob', '/v1/messages/search?q=hi&conversation_id=@alice&type=text&sender=alice&limit=1');
  await post('alice', `/v1/messages/${hi.id}/revoke`, { postscript: 'gone', extension: [1, null], push_content: 'p', push_payload: { a: 1 } });
  await get('bob', `/v1/messages/${hi.id}`);
  await post('alice', '/v1/messages/revoke', { ids: [hi.id, 'nothing'] });
  await get('bob', '/v1/messages/erased');
  await post('bob', '/v1/conversations/@alice/hide', { message_ids: [slow.id] }, 204);
  await post('bob', '/v1/conversations/@alice/hide', { all: true }, 204);
  await del('bob', '/v1/conversations/@alice?scope=me&keep_messages=true');
  assert.equal((await post('alice', '/v1/conversations/@bob/messages', { type: 'text', body: { text: 'x'.repeat(6000) } }, 413)).code, 'message_too_large');
  await put('bob', '/v1/blocks/mallory');
  await get('bob', '/v1/blocks');
  await del('bob', '/v1/blocks/mallory');
  assert.equal((await put('bob', '/v1/blocks/bob', undefined, 422)).code, 'block_self');

  // Attachments and commands.
  const notes = await call(201, 'alice', 'POST', '/v1/attachments?name=notes.txt', 'Buy milk', 'application/octet-stream');
  await post('alice', '/v1/conversations/@bob/messages', { type: 'file', body: { attachment_id: notes.id } }, 201);
  await get('bob', `/v1/attachments/${notes.id}`);
  assert.equal((await get('carol', `/v1/attachments/${notes.id}/thumbnail`, 404)).code, 'attachment_not_found');
  await post('alice', '/v1/conversations/@bob/messages', { type: 'command', body: { action: 'typing', params: { on: true } } }, 202);

  // A group and its threads.
  const group = (await post('alice', '/v1/conversations', { kind: 'group', name: 'Weekend', members: ['bob'], settings: { history: 'all' } }, 201)).id;
  const g = `/v1/conversations/${group}`;
  await get('alice', g);
  await patch('alice', g, { name: 'Next weekend', settings: { announcement: 'Bring water', avatar: null, join: 'open' } });
  await post('alice', `${g}/members`, { members: ['carol'], role: 'admin' });
  await get('bob', `${g}/members?limit=1`);
  await get('bob', `${g}/members/carol`);
  await patch('alice', `${g}/members/carol`, { role: 'member' });
  await put('alice', `${g}/members/carol/mute`, { seconds: 60 }, 200);
  await del('alice', `${g}/members/carol/mute`);
  await get('bob', `${g}/permissions`);
  await post('alice', `${g}/invitations`, { users: ['dave'] });
  await get('alice', `${g}/invitations`);
  await del('dave', `${g}/invitations/dave`);
  const root = await say('bob', group, 'who comes?', { receipt: true, mentions: ['alice'] });
  await say('alice', group, 'me', { reply_to: root.id, mention_all: true, push: { title: 'x' } });
  await get('bob', `/v1/messages/${root.id}/receipts`);
  const stream = (await post('alice', '/v1/streams', { conversation_id: group, access: 'listed', readers: ['bob'], label: 'answer', idle_seconds: 60 }, 201)).id;
  const d = `/v1/streams/${stream}`;
  await get('bob', d);
  await get('bob', `/v1/streams?conversation_id=${group}`);
  await put('alice', `${d}/publishers/bob`);
  await post('bob', `${d}/frames`, { dtype: 1, text: 'Hello' });
  await del('alice', `${d}/publishers/bob`);
  await put('alice', `${d}/readers/carol`);
  await del('alice', `${d}/readers/carol`);
  await post('alice', `${d}/end`, { message: { type: 'text', body: { text: 'Hello' } } });
  await get('bob', `${d}/events`);
  assert.equal((await post('alice', `${d}/frames`, { text: 'late' }, 410)).code, 'stream_ended');
  await del('alice', `/v1/streams/${(await post('alice', '/v1/streams', { access: 'anyone' }, 201)).id}`);
  const thread = (await post('alice', `/v1/messages/${root.id}/thread`, { name: 'who comes' }, 201)).id;
  await get('carol', `/v1/messages/${root.id}/thread`);
  await get('carol', `/v1/conversations/${thread}`);
  await post('carol', `/v1/conversations/${thread}/join`);
  await say('carol', thread, 'me too');
  await get('carol', `${g}/threads`);
  await get('carol', '/v1/threads');
  await put('alice', `${g}/lists/deny/mallory`);
  await get('alice', `${g}/lists/deny`);
  await del('alice', `${g}/lists/deny/mallory`);
  await del('alice', `/v1/messages/${root.id}`, 200);
  await del('alice', `${g}/members/bob`);
  await post('carol', `${g}/leave`, undefined, 204);
  assert.equal((await get('carol', g, 404)).code, 'conversation_not_found');
  await del('alice', `${g}?scope=everyone`);

  // A space.
  const space = (await post('alice', '/v1/spaces', { name: 'Club', settings: { join: 'open', announcement: null } }, 201)).id;
  const s = `/v1/spaces/${space}`;
  await get('alice', '/v1/spaces');
  await get('alice', s);
  await patch('alice', s, { name: 'The club' });
  await post('bob', `${s}/join`);
  await get('bob', `${s}/permissions`);
  await post('alice', `${s}/members`, { members: ['carol'] });
  await get('alice', `${s}/members?limit=1`);
  await get('alice', `${s}/members/bob`);
  const role = (await post('alice', `${s}/roles`, { name: 'Moderators', permissions: { kick: 'allow', send: 'inherit' }, position: 1 }, 201)).id;
  await get('alice', `${s}/roles`);
  await patch('alice', `${s}/roles/${role}`, { permissions: { mute: 'allow' } });
  await put('alice', `${s}/roles/${role}/members/bob`);
  await patch('alice', `${s}/members/carol`, { roles: [role] });
  await del('alice', `${s}/roles/${role}/members/bob`);
  await put('alice', `${s}/members/bob/mute`, {}, 200);
  await del('alice', `${s}/members/bob/mute`);
  const channel = (await post('alice', `${s}/channels`, { name: 'general', settings: { slow_mode_seconds: 0 } }, 201)).id;
  const c = `/v1/conversations/${channel}`;
  await get('bob', `${s}/channels`);
  await say('bob', channel, 'hello');
  await put('alice', `${c}/overrides/${role}`, { permissions: { send: 'deny' } }, 200);
  await get('alice', `${c}/overrides`);
  await del('alice', `${c}/overrides/${role}`);
  await patch('alice', c, { visibility: 'private' });
  await put('alice', `${c}/lists/allow/bob`);
  await get('bob', c);
  await del('alice', `${s}/roles/${role}`);
  await post('alice', `${s}/invitations`, { users: ['dave', 'mallory'] });
  await get('alice', `${s}/invitations`);
  await get('dave', '/v1/invitations');
  await del('dave', `${s}/invitations/dave`);
  await put('alice', `${s}/lists/deny/mallory`);
  await get('alice', `${s}/lists/deny`);
  assert.equal((await post('alice', `${s}/members`, { members: ['mallory'] }, 409)).code, 'on_deny_list');
  await del('alice', `${s}/lists/deny/mallory`);
  await del('alice', `${s}/members/carol`);
  await post('bob', `${s}/leave`, undefined, 204);
  await del('alice', s);

  // Events.
  let newest;
  for (let token = ''; token !== null;) {
    const page = await get('bob', `/v1/events/log?limit=20${token && `&page_token=${token}`}`);
    newest = page.items.at(-1)?.id ?? newest;
    token = page.next_page_token;
  }
  await post('bob', '/v1/events/tickets', undefined, 201);

  // Operations for admins.
  const room = (await post('alice', '/v1/conversations', { kind: 'room', name: 'Lounge', settings: { slow_mode_seconds: 600 } }, 201)).id;
  await post('bob', `/v1/conversations/${room}/join`);
  await say('bob', room, 'one');
  assert.equal((await post('bob', `/v1/conversations/${room}/messages`, { type: 'text', body: { text: 'two' } }, 429)).code, 'slow_mode');
  const old = { conversation_id: room, sender: 'alice', type: 'text', body: { text: 'old' }, client_id: 'i-1', created_at: '2026-01-02T03:04:05.678Z' };
  assert.equal((await post('alice', '/v1/admin/import/message', old, 403)).code, 'admin_required');
  await post('root', '/v1/admin/import/message', old, 201);
  await post('root', '/v1/admin/import/message', old, 200);
  await post('root', '/v1/admin/insert', old, 200);
  const lines = ['bob', 'carol'].map(to => JSON.stringify({ ...old, conversation_id: `@${to}` })).join('\n');
  assert.equal((await call(200, 'root', 'POST', '/v1/admin/import', lines, 'application/x-ndjson')).trim().split('\n').length, 2);
  assert.match(await get('root', '/v1/admin/export'), /\n/);
  await post('root', '/v1/admin/messages', { as: 'alice', to: ['@bob', room], message: { type: 'text', body: { text: 'news' }, client_id: 'a-1' } });
  await get('root', '/v1/admin/erasures');
  await get('root', '/v1/admin/webhooks');
  const hook = (await post('root', '/v1/admin/webhooks', { url: 'https://hooks.example.com/imapi', events: ['message.revoked'] }, 201)).id;
  const h = `/v1/admin/webhooks/${hook}`;
  await get('root', h);
  await post('root', `${h}/secret`, {});
  await post('root', `${h}/redeliver`, { from: newest });
  await post('root', `${h}/test`, undefined, 202);
  await get('root', `${h}/deliveries`);
  await patch('root', h, { state: 'paused' });
  await del('root', h);
  await get('root', '/v1/admin/retention');
  await call(200, 'root', 'POST', '/v1/admin/retention');
  await post('root', '/v1/admin/users/mallory/tokens/cut');

  const missing = known.map(o => o.id).filter(id => !called.has(id) && !notHere.has(id));
  assert.deepEqual(missing, [], 'operations that were not called');
  return calls;
}

/**
 * Has every operation refuse requests that the document allows: with a token that is none, and
 * with ids that a stranger cannot see. Returns how many refusals there were, by status.
 */
export async function refusals(url, tokens, document) {
  const { paths, components } = load(document);
  const resolve = node => node.$ref ? node.$ref.slice(2).split('/').reduce((at, name) => at[name], { components }) : node;
  const exampleOf = node => node.example ?? Object.values(node.examples ?? {})[0]?.value;
  const seen = {};

  async function call(id, method, path, token, body, type) {
    const headers = { Accept: 'application/json', ...(token && { Authorization: `Bearer ${token}` }), ...(body !== undefined && { 'Content-Type': type }) };
    const answer = await fetch(url + path, { method, headers, body });
    const said = await answer.text();
    const what = `${id}: ${method} ${path}: ${answer.status} ${said}`;
    assertNoViolation(answer, said, what);
    if (answer.status < 400) return answer.status;
    assert.match(answer.headers.get('content-type'), /^application\/problem\+json/, what);
    const problem = JSON.parse(said);
    assert.equal(problem.status, answer.status, what);
    assert.match(problem.code, /^[a-z_]+$/, what);
    seen[answer.status] = (seen[answer.status] ?? 0) + 1;
    return answer.status;
  }

  for (const [path, item] of Object.entries(paths)) {
    for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
      const operation = item[method];
      if (!operation || operation.security?.length === 0) continue;
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
      const value = parameter => exampleOf(parameter) ?? parameter.schema.example ?? 'nothing';
      const query = new URLSearchParams(parameters.filter(p => p.in === 'query' && p.required).map(p => [p.name, value(p)]));
      const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(value(parameters.find(p => p.name === name))));
      const target = filled + (query.size > 0 ? `?${query}` : '');
      const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
      const example = content && (exampleOf(content) ?? 'a file');
      const body = typeof example === 'object' ? JSON.stringify(example) : example;
      const of = (token, to = target) => call(operation.operationId, method.toUpperCase(), to, token, body, type);

      assert.equal(await of('not.a.token'), 401, `${operation.operationId} with a token that is none`);
      if (notHere.has(operation.operationId)) continue;
      if (path.startsWith('/v1/admin/')) assert.equal(await of(tokens.mallory), 403, `${operation.operationId} without the scope admin`);
      else await of(tokens.mallory);
      if (path.startsWith('/v1/admin/webhooks/{')) assert.equal(await of(tokens.root), 404, `${operation.operationId} of no webhook`);
      if (parameters.some(p => p.name === 'page_token')) {
        const paged = `${filled}?${new URLSearchParams([...query, ['page_token', 'nothing']])}`;
        const status = await of(path.startsWith('/v1/admin/') ? tokens.root : tokens.mallory, paged);
        assert.ok(status >= 400, `${operation.operationId} with a page token that is none: ${status}`);
      }
    }
  }
  for (const status of [400, 401, 403, 404]) assert.ok(seen[status], `no refusal with ${status}: ${JSON.stringify(seen)}`);
  return seen;
}
