// Packs the client, installs the package in projects as others have them, compiles against it, and
// runs the examples of the README.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { serverFor } from './help.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'imapi-pack-'));
after(() => rmSync(directory, { recursive: true, force: true }));

async function run(cwd, program, ...args) {
  try {
    return (await promisify(execFile)(program, args, { cwd })).stdout;
  } catch (error) {
    throw new Error(`${program} ${args.join(' ')}:\n${error.stdout}${error.stderr}`);
  }
}
const tsc = (cwd, ...args) => run(cwd, process.execPath, join(root, 'node_modules/typescript/bin/tsc'), ...args);

let packed;
before(async () => {
  [packed] = JSON.parse(await run(root, 'npm', 'pack', '--silent', '--json', '--ignore-scripts', '--pack-destination', directory));
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await run(directory, 'npm', 'install', '--offline', '--no-audit', '--no-fund', join(directory, packed.filename));
  mkdirSync(join(directory, 'node_modules/@types'));
  symlinkSync(join(root, 'node_modules/@types/node'), join(directory, 'node_modules/@types/node'));
  symlinkSync(join(root, 'node_modules/undici-types'), join(directory, 'node_modules/undici-types'));
});

test('the package has what is needed, and nothing else', async () => {
  const modules = ['backoff', 'client', 'errors', 'events', 'frames', 'http', 'index', 'schema', 'seen', 'send', 'sse', 'stream', 'types'];
  assert.deepEqual(packed.files.map(file => file.path).sort(), [
    'LICENSE', 'README.md', ...modules.flatMap(name => [`dist/${name}.d.ts`, `dist/${name}.js`]), 'package.json'].sort());
  const manifest = JSON.parse(readFileSync(join(directory, 'node_modules/@imapi/client/package.json'), 'utf8'));
  for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies']) assert.equal(manifest[kind], undefined, kind);
  assert.equal(manifest.license, 'Apache-2.0');
  assert.equal(readFileSync(join(root, 'LICENSE'), 'utf8'), readFileSync(join(root, '../../LICENSE'), 'utf8'));
  await run(directory, process.execPath, '--input-type=module', '-e', `
    const { Imapi, Problem, TransportError, ...others } = await import('@imapi/client');
    if (typeof Imapi !== 'function' || Object.keys(others).sort().join() !== 'Pusher,Stream') throw new Error(Object.keys(others));
    await import('@imapi/client/dist/sse.js').then(() => { throw new Error('it exports what is its own'); }, () => {});`);
});

const kinds = {
  'a bundler for browsers': { module: 'ESNext', moduleResolution: 'bundler', lib: ['ES2022', 'DOM', 'DOM.Iterable'], types: [] },
  'Node.js without the DOM': { module: 'NodeNext', moduleResolution: 'NodeNext', lib: ['ES2022'], types: ['node'] },
  'the strictest options': {
    module: 'NodeNext', moduleResolution: 'NodeNext', lib: ['ES2018', 'DOM'], types: [], skipLibCheck: false,
    exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noPropertyAccessFromIndexSignature: true, verbatimModuleSyntax: true,
  },
};
for (const [kind, options] of Object.entries(kinds)) {
  test(`a project with ${kind} compiles, and wrong uses do not`, async () => {
    const project = mkdtempSync(join(directory, 'project-'));
    writeFileSync(join(project, 'use.ts'), readFileSync(new URL('use.ts', import.meta.url)));
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({
      compilerOptions: { target: 'ES2022', strict: true, noEmit: true, ...options }, files: ['use.ts'],
    }));
    await tsc(project, '-p', '.');
  });
}

test('the examples of the README compile and run', async t => {
  const server = await serverFor(t);
  const examples = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```ts\n([^]*?)^```/gm)].map(([, code]) => code);
  assert.ok(examples.length >= 6, `${examples.length}`);
  const project = mkdtempSync(join(directory, 'readme-'));
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({
    compilerOptions: { target: 'ES2022', module: 'ESNext', moduleResolution: 'bundler', lib: ['ES2022', 'DOM'], types: ['node'], strict: true },
    files: ['examples.ts'],
  }));
  writeFileSync(join(project, 'examples.ts'), `
    declare const process: { env: Record<string, string> };
    const tokenFromYourServer = async () => process.env.TOKEN;
    ${examples.join('\n').replace('http://127.0.0.1:8080', server.url)}`);
  await tsc(project, '-p', '.');
  process.env.TOKEN = await server.token('alice');
  const said = await run(project, process.execPath, 'examples.js');
  for (const line of ['connecting', 'open', 'closed', 'ready', '1 active Hello Bob', '8 of 8 bytes', 'Buy milk', '3 it.']) {
    assert.ok(said.split('\n').includes(line), `no line ${JSON.stringify(line)} in\n${said}`);
  }
  assert.match(said, /^message \S+$/m);
});
