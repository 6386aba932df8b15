// Checks the contract against a server built from this repository. Clients made by other
// projects' generators work against it, and Prism finds no violation of the OpenAPI document in
// requests, answers and refusals of every operation.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import createClient from 'openapi-fetch';
import { Server, freePort } from './server.mjs';
import { converse, found } from './generated/contract.js';
import { assertNoViolation, refusals, walk } from './walk.mjs';

const clients = createRequire(import.meta.url)('./generated/build/clients.js');
const here = path => fileURLToPath(new URL(path, import.meta.url));
const document = here('../../api/openapi.yaml');
const patience = 60_000;

/** Waits with a deadline: a client that reads a stream to its end would wait for ever. */
async function inTime(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not end`)), patience);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const server = await Server.start('--rate', '0');
const alice = { url: server.url, token: await server.token('alice') };

const streaming = new Set(['heyApi', 'swaggerTypescript']);
for (const [name, run] of Object.entries(clients)) {
  const text = `hello from ${name}`;
  const outcome = await inTime(name, run(alice, text));
  assert.equal(outcome.sent, text, name);
  assert.equal(outcome.read, text, name);
  assert.match(outcome.refused ?? 'nothing', /^(conversation|message)_not_found$/, name);
  assert.ok(outcome.logged, `${name}: the message is not in the log`);
  if (streaming.has(name)) assert.equal(outcome.streamed, 'ready', name);
  console.log(`${name}: sent, read, refused, followed`);
}

const typed = createClient({ baseUrl: server.url, headers: { Authorization: `Bearer ${alice.token}` } });
assert.equal((await inTime('openapi-typescript', converse(typed))).length, 4);
assert.ok((await inTime('openapi-typescript', found(typed, 'Club'))).includes('send'));
console.log('openapi-typescript: conversed, founded a space');

const { stdout } = await promisify(execFile)(here('../contract/generated/contract'), [server.url, alice.token]);
process.stdout.write(stdout);

/** Starts Prism between its caller and the server, and returns its URL. */
async function startPrism(document) {
  const port = await freePort();
  const prism = spawn(process.execPath,
    [here('node_modules/@stoplight/prism-cli/dist/index.js'), 'proxy', document, server.url, '--errors', '--port', String(port)],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  process.on('exit', () => prism.kill());
  await inTime('Prism', new Promise((done, failed) => {
    prism.once('exit', code => failed(new Error(`Prism ended with ${code}`)));
    prism.stdout.on('data', chunk => { if (String(chunk).includes('listening')) done(); });
  }));
  return `http://127.0.0.1:${port}`;
}

const tokens = {};
for (const user of ['alice', 'bob', 'carol', 'dave', 'mallory']) tokens[user] = await server.token(user);
tokens.root = await server.token('root', '--admin');
const contract = readFileSync(document, 'utf8');
const prism = await startPrism(document);
const refused = await inTime('the refusals', refusals(prism, tokens, contract));
console.log(`Prism: no violation in refusals, by status: ${JSON.stringify(refused)}`);
const calls = await inTime('the walk', walk(prism, tokens, contract));
console.log(`Prism: ${calls} calls, no violation`);

// A refusal that the document does not have is found.
const without404 = here('generated/without404.yaml');
writeFileSync(without404, contract.replaceAll(/^ +'404': .*\n/gm, ''));
const answer = await fetch(await startPrism(without404) + '/v1/messages/nothing', { headers: { Authorization: `Bearer ${tokens.alice}` } });
const said = await answer.text();
assert.throws(() => assertNoViolation(answer, said, 'a refusal'), /Unable to match the returned status code/);
server.discard();
process.exit(0);
