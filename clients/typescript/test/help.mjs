// What the tests share: servers that can be killed, links that can be cut, and senders.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Imapi, Problem, TransportError } from '../dist/index.js';
import { freePort, Server } from '../../../test/web/server.mjs';

export { Server };

/** The patience of a test with a busy machine, in milliseconds. */
export const patience = 60_000;

/** Polls until a condition is true. */
export async function until(what, condition) {
  for (const end = Date.now() + patience; !await condition(); await sleep(10)) {
    if (Date.now() > end) throw new Error(`waited ${patience} ms until ${what}`);
  }
}

/** Starts a server that is discarded after the test. */
export async function serverFor(t, ...flags) {
  const server = await Server.start(...flags);
  t.after(() => server.discard());
  return server;
}

/** A client of a user. */
export async function clientOf(server, user, options) {
  return new Imapi(server.url, { token: await server.token(user), ...options });
}

export const text = text => ({ type: 'text', body: { text } });

/** Loops that send numbered messages, each until it is acknowledged. */
export class Senders {
  acknowledged = [];
  retries = 0;
  #stopped = false;
  #loops;

  constructor(client, to, count) {
    this.#loops = Promise.all(Array.from({ length: count }, (_, loop) => this.#loop(client, to, loop)));
    this.#loops.catch(() => {}); // stop reports it
  }

  async #loop(client, to, loop) {
    for (let n = 0; !this.#stopped; n++) {
      const draft = { ...text(`${loop}-${n}`), client_id: `${loop}-${n}` };
      for (;;) {
        try {
          this.acknowledged.push(await client.send(to, draft));
          break;
        } catch (error) {
          if (!(error instanceof TransportError) && !(error instanceof Problem && error.status === 503)) throw error;
          this.retries++;
        }
      }
      await sleep(10);
    }
  }

  /** Ends the loops once every message is acknowledged, and returns the messages in their order. */
  async stop() {
    this.#stopped = true;
    await this.#loops;
    return this.acknowledged.sort((a, b) => a.seq - b.seq);
  }
}

/** Checks that every acknowledged message was delivered, once and in order. */
export function assertDelivered(events, acknowledged) {
  const created = events.filter(event => event.type === 'message.created');
  assert.deepEqual(created.map(event => event.seq), acknowledged.map((_, i) => i + 1), 'every seq, once and in order');
  assert.deepEqual(created.map(event => event.message_id), acknowledged.map(message => message.id));
  assert.deepEqual(created.map(event => event.message?.body?.text), acknowledged.map(message => message.body.text));
  assert.equal(events.filter(event => event.type === 'reset').length, 0, 'the log was never lost');
}

/** A link to a server that a test can stall, cut, or make lose answers. */
export class Link {
  stalled = false;
  /** How many answers to requests that begin with a text are still lost. */
  lose = { request: '', times: 0 };
  /** After how many bytes from the server a connection is cut. */
  limit = Infinity;
  connections = 0;
  #listener;
  #sockets = new Set();

  static async to(t, server) {
    const link = new Link();
    link.#listener = createServer(near => link.#join(near, connect(server.port, '127.0.0.1')));
    const port = await freePort();
    link.#listener.listen(port, '127.0.0.1');
    await once(link.#listener, 'listening');
    link.url = `http://127.0.0.1:${port}`;
    t.after(() => {
      link.#listener.close();
      link.cut();
    });
    return link;
  }

  #join(near, far) {
    this.connections++;
    let lost = false, passed = 0;
    near.on('data', part => {
      if (this.lose.times > 0 && String(part).startsWith(this.lose.request)) {
        this.lose.times--;
        lost = true;
      }
      far.write(part);
    });
    far.on('data', part => {
      const rest = this.limit - passed;
      passed += part.length;
      if (lost) near.destroy();
      else if (passed >= this.limit) near.end(part.subarray(0, rest));
      else if (!this.stalled) near.write(part);
    });
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }

  /** Cuts all connections. */
  cut() {
    this.#sockets.forEach(socket => socket.destroy());
  }
}

/** Collects what a stream yields, in the background. */
export class Reader {
  items = [];
  states = [];
  cursors = [];
  #stop = new AbortController();

  /** @param open A function that opens a stream with the given options. */
  constructor(open, options = {}) {
    this.stream = open({
      minBackoff: 50,
      signal: this.#stop.signal,
      onState: state => this.states.push(state),
      onCursor: cursor => this.cursors.push(cursor),
      ...options,
    });
    this.ended = (async () => {
      for await (const item of this.stream) this.items.push(item);
    })();
    this.ended.catch(error => { this.error = error; });
  }

  of(type) {
    return this.items.filter(item => item.type === type);
  }

  /** Waits for a number of items of a type. */
  async until(type, count = 1) {
    await until(`${count} × ${type}`, () => {
      if (this.error) throw this.error;
      return this.of(type).length >= count;
    });
  }

  stop() {
    this.#stop.abort();
    return this.ended;
  }
}
