// An nginx in front of a server, configured as in docs/operations.md.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './server.mjs';

const program = process.env.NGINX ?? '/usr/sbin/nginx';
const running = new Set();
process.on('exit', () => running.forEach(proxy => proxy.discard()));

export class Proxy {
  #process;
  #directory;

  static all() {
    return [...running];
  }

  /** Starts an nginx with a location: that of docs/operations.md, or another. */
  static async start(server, location = documented(server)) {
    const proxy = new Proxy();
    const directory = proxy.#directory = mkdtempSync(join(tmpdir(), 'imapi-nginx-'));
    const port = await freePort();
    proxy.url = `http://127.0.0.1:${port}`;
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map(kind => `${kind}_temp_path ${join(directory, kind)};`).join('\n');
    writeFileSync(join(directory, 'nginx.conf'), `
daemon off;
worker_processes 1;
pid ${join(directory, 'pid')};
error_log ${join(directory, 'log')};
events {}
http {
access_log off;
${temporary}
server {
listen 127.0.0.1:${port};
${location}
}
}
`);
    proxy.#process = spawn(program, ['-p', directory, '-e', join(directory, 'log'), '-c', join(directory, 'nginx.conf')], { stdio: 'inherit' });
    running.add(proxy);
    for (const end = Date.now() + 30_000; ; await sleep(20)) {
      const answer = await fetch(proxy.url + '/healthz').catch(() => undefined);
      if (answer?.ok) return proxy;
      if (proxy.#process.exitCode !== null || Date.now() > end) throw new Error(`nginx does not answer:\n${readFileSync(join(directory, 'log'))}`);
    }
  }

  /** Ends the process; its worker ends with it. */
  discard() {
    if (!running.delete(this)) return;
    this.#process.kill('SIGTERM');
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** The location in docs/operations.md. */
function documented(server) {
  const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8');
  return operations.match(/^```nginx\n([^]*?)^```/m)[1].replace('http://127.0.0.1:8080', server.url);
}
