// A server built from this repository that tests can kill and restart.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const program = fileURLToPath(new URL('../../bin/imapi', import.meta.url));

// Servers that still run are killed when this process exits.
const running = new Set();
process.on('exit', () => running.forEach(server => server.discard()));

export class Server {
  #process;
  #flags;

  /** Starts a server on a free port, with an empty data directory. */
  static async start(...flags) {
    const server = new Server();
    server.#flags = flags;
    server.directory = mkdtempSync(join(tmpdir(), 'imapi-web-'));
    server.data = join(server.directory, 'data');
    server.log = join(server.directory, 'log');
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    running.add(server);
    await server.startAgain();
    return server;
  }

  /** The servers that were started and not discarded. */
  static all() {
    return [...running];
  }

  /** Starts it, on the same port and data, and waits until it is ready. */
  async startAgain() {
    const log = openSync(this.log, 'a');
    const listen = `127.0.0.1:${this.port}`;
    const child = spawn(program, ['serve', '--listen', listen, '--data', this.data, '--rate', '0', ...this.#flags], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#process = child;
    let failure;
    child.on('error', error => { failure = error; });
    while (!await this.#ready()) {
      if (failure) throw failure;
      assert.equal(child.exitCode, null, `the server ended:\n${this.readLog()}`);
      await sleep(20);
    }
  }

  async #ready() {
    try {
      const answer = await fetch(this.url + '/readyz', { signal: AbortSignal.timeout(2000) });
      await answer.arrayBuffer();
      return answer.ok;
    } catch {
      return false;
    }
  }

  /** Sends a signal and waits for the exit: [exit code, signal]. */
  async end(signal) {
    const ended = once(this.#process, 'exit');
    this.#process.kill(signal);
    return ended;
  }

  /** Makes a token with imapi token. */
  async token(user, ...flags) {
    const { stdout } = await promisify(execFile)(program, ['token', '--user', user, '--data', this.data, ...flags]);
    return stdout.trim();
  }

  readLog() {
    return readFileSync(this.log, 'utf8').split('\n').slice(-40).join('\n');
  }

  /** Kills the server if it runs, and deletes its data. */
  discard() {
    if (!running.delete(this)) return;
    const child = this.#process;
    if (child?.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

// A port below the kernel's ephemeral range, so that no client takes it while the server is down.
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const probe = createServer();
    const outcome = await new Promise(done => {
      probe.once('error', () => done('taken'));
      probe.listen(port, '127.0.0.1', () => done('free'));
    });
    if (outcome === 'taken') continue;
    probe.close();
    await once(probe, 'close');
    return port;
  }
}
