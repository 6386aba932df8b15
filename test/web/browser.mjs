// The server as a browser sees it: the EventSource of a real Chromium listens while the server is
// killed and restarted, and while its ticket expires. It must receive every acknowledged message
// once and in order.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, converse, found } from './generated/contract.js';
import { Proxy } from './proxy.mjs';
import { run } from './run.mjs';
import { Server } from './server.mjs';

const deadline = 90_000; // of one test
const to = '/v1/conversations/@bob/messages';

const tests = {
  'the generated client talks to the server': typedClient,
  'an EventSource survives six SIGKILLs and a SIGTERM': restarts,
  'an EventSource whose ticket ended resumes by cursor': endedTickets,
  'the demo signs nobody in through nginx': noStrangers,
  'the demo and the snippet of the guide outlive a restart behind nginx': behindProxy,
};

// ---- the tests ----

async function typedClient() {
  const server = await Server.start();
  const api = connect(server.url, await server.token('alice'));
  const sent = await converse(api);
  assert.deepEqual(sent.map(message => message.seq), [1, 2, 3, 4]);
  assert.equal(sent[1].body.address, '上海');
  assert.deepEqual(sent[2].body.data, { number: 7, of: [null, true] });
  assert.equal(sent[3].body.data, null);
  assert.ok((await found(api, 'Club')).includes('delete'), 'who founded a space may delete its channel');
}

async function restarts(browser) {
  const server = await Server.start();
  const listener = await Listener.open(browser, server);
  await listener.listen();
  await listener.until('ready', () => listener.readies === 1);
  const senders = await Senders.start(server, 3);

  const rounds = ['SIGKILL', 'SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGKILL', 'SIGKILL', 'SIGKILL'];
  for (const [round, signal] of rounds.entries()) {
    const { messages, errors, readies } = listener.counts();
    await listener.until('news', () => listener.messages.length > messages + 5);
    const [code] = await server.end(signal);
    if (signal === 'SIGTERM') assert.equal(code, 0, 'SIGTERM is a clean end');
    // In one round the browser comes back too early, too.
    const missed = round === 1 ? 2 : 1;
    await listener.until('the loss of the stream', () => listener.errors >= errors + missed);
    await server.startAgain();
    await listener.until('the stream', () => listener.readies > readies);
  }

  await finish(server, listener, senders);
  assert.equal(listener.readies, rounds.length + 1, 'one stream a start');
  assert.equal(listener.tickets.length, 1, 'it reconnected by itself');
}

async function endedTickets(browser) {
  const server = await Server.start('--ticket-ttl', '2s');
  const listener = await Listener.open(browser, server);
  await listener.listen();
  await listener.until('ready', () => listener.readies === 1);
  const senders = await Senders.start(server, 1);

  for (let ticket = 1; ticket <= 3; ticket++) {
    await listener.until('the end of the ticket', () => listener.closed === ticket);
    await listener.until('the 401 that ended it', () => listener.refused >= ticket);
    assert.equal(listener.refused, ticket, 'a closed EventSource asks no more');
    assert.equal(listener.readies, ticket, 'the ended ticket opened no stream');
    const before = listener.messages.length;
    await listener.listen(listener.cursor);
    await listener.until('news', () => listener.messages.length > before + 5);
  }

  await finish(server, listener, senders);
  assert.equal(new Set(listener.tickets).size, 4, 'each ticket is another');
}

/** Also by its default, which sends the server's own address as Host and says nothing of its clients. */
async function noStrangers() {
  const server = await Server.start();
  const ask = url => fetch(`${url}/demo/sign-in`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"user":"Ada"}' });
  assert.equal((await ask(server.url)).status, 200);
  const proxies = [await Proxy.start(server)];
  // Workers of an nginx that root has started are another user's.
  if (process.getuid() === 0) proxies.push(await Proxy.start(server, `location / { proxy_pass ${server.url}; proxy_http_version 1.1; }`));
  for (const proxy of proxies) {
    const answer = await ask(proxy.url);
    assert.equal(answer.status, 403, 'a stranger is signed in through the proxy');
    assert.match(await (await fetch(proxy.url)).text(), /data-sign-in="off"/);
  }
}

/** While the server is away nginx answers 502, which closes an EventSource for good. */
async function behindProxy(browser) {
  // As in production, where the demo signs nobody in by itself.
  const server = await Server.start('--trusted-proxies', '127.0.0.1');
  const proxy = await Proxy.start(server);
  const refused = { demo: { stream: 0, ticket: 0 }, snippet: { stream: 0, ticket: 0 } };
  const open = async (name, path) => {
    const page = await (await browser.newContext()).newPage();
    page.on('response', answer => {
      const what = { '/v1/events': 'stream', '/v1/events/tickets': 'ticket' }[new URL(answer.url()).pathname];
      if (answer.status() === 502 && what) refused[name][what]++;
    });
    await page.goto(proxy.url + path);
    return page;
  };
  const faults = [];
  const alice = await server.token('alice');
  const demoPage = await open('demo', '/');
  demoPage.on('pageerror', error => faults.push(`the demo: ${error}`));
  await demoPage.getByLabel('Token 1').fill(await server.token('bob'));
  await demoPage.getByLabel('Token 2').fill(await server.token('carol'));
  await demoPage.getByRole('button', { name: 'Sign in' }).click();
  const bob = demoPage.locator('[data-user=bob]');
  const live = () => bob.getByText('Live', { exact: true }).or(bob.getByText(/^Back/)).waitFor();
  await live();

  const snippetPage = await open('snippet', '/healthz');
  const said = [];
  snippetPage.on('pageerror', error => faults.push(`the snippet: ${error}`));
  snippetPage.on('console', line => said.push(line.text()));
  const opened = snippetPage.waitForResponse(answer => answer.url().includes('/v1/events?') && answer.ok());
  await snippetPage.evaluate(`(() => { const token = ${JSON.stringify(await server.token('bob'))};\n${snippet()}\nlisten(); })()`);
  await opened;

  const heard = async text => {
    const answer = await fetch(proxy.url + to, {
      method: 'POST',
      headers: { Authorization: `Bearer ${alice}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ type: 'text', body: { text } }),
    });
    assert.equal(answer.status, 201);
    const { id } = await answer.json();
    await bob.locator('.row').filter({ hasText: text }).waitFor();
    await until(`the snippet hears ${text}`, () => said.some(line => line.includes(id)));
  };
  await heard('before');
  for (const signal of ['SIGKILL', 'SIGTERM']) {
    const before = structuredClone(refused);
    await server.end(signal);
    // The streams of both pages are closed for good, and a request for a ticket has failed.
    // The demo reads its stream with fetch, which needs none.
    for (const name of ['demo', 'snippet']) {
      await until(`the stream of the ${name} is refused`, () => refused[name].stream > before[name].stream);
    }
    await until('a ticket is refused', () => refused.snippet.ticket > before.snippet.ticket);
    await server.startAgain();
    await live();
    await heard(`after ${signal}`);
  }
  await bob.locator('.row').filter({ hasText: 'alice' }).click();
  assert.deepEqual(await bob.locator('.bubble .text').allTextContents(), ['before', 'after SIGKILL', 'after SIGTERM'], 'nothing lost or twice');
  assert.equal(said.filter(line => line.includes('alice')).length, 3, `the snippet said ${said}`);
  assert.deepEqual(faults, [], 'nothing was thrown');
}

/** The snippet in docs/guide.md. */
function snippet() {
  const guide = readFileSync(new URL('../../docs/guide.md', import.meta.url), 'utf8');
  return guide.match(/^<!-- guide: browser -->\n```js\n([^]*?)^```/m)[1];
}

/** Polls until a condition outside of the page is true. */
async function until(what, condition) {
  for (const end = Date.now() + 30_000; !condition(); await sleep(20)) {
    if (Date.now() > end) throw new Error(`waited 30 s until ${what}`);
  }
}

/** Ends a test: every acknowledged message was received, once and in order. */
async function finish(server, listener, senders) {
  const acknowledged = await senders.stop();
  // Times out if something was lost; the comparison below shows what.
  await listener.until('the last message', () => listener.messages.length >= acknowledged.length).catch(() => {});
  await sleep(300); // duplicates would have arrived by now
  const inOrder = acknowledged.sort((a, b) => a.seq - b.seq);
  const heard = listener.messages;
  assert.deepEqual(heard.map(m => m.seq), inOrder.map((_, i) => i + 1), 'every seq, once and in order');
  assert.deepEqual(heard.map(m => m.message_id), inOrder.map(m => m.id), 'every acknowledged message');
  assert.deepEqual(heard.map(m => m.text), inOrder.map(m => m.body.text), 'as it was sent');
  assert.deepEqual(heard.map(m => m.event_id), heard.map(m => m.id), 'the id of the frame is that of the event');
  assert.equal(new Set(heard.map(m => m.id)).size, heard.length, 'every event has an id of its own');
  assert.equal(new Set(inOrder.map(m => m.client_id)).size, inOrder.length, 'no message was stored twice');
  assert.equal(listener.resets, 0, 'the log was never lost');
  assert.ok(heard.length >= 50, `${heard.length} messages prove little`);
  console.log(`    ${heard.length} messages, ${senders.retries} sent again, ${listener.readies} streams`);
}

// ---- senders ----

/** Several loops in which alice sends numbered messages to bob. */
class Senders {
  retries = 0;
  #server;
  #acknowledged = [];
  #stopped = false;
  #loops;

  static async start(server, count) {
    const senders = new Senders();
    senders.#server = server;
    const token = await server.token('alice');
    senders.#loops = Promise.all(Array.from({ length: count }, (_, i) => senders.#loop(token, i)));
    senders.#loops.catch(() => {}); // stop reports it
    return senders;
  }

  /** Ends the loops once every started message is acknowledged. */
  async stop() {
    this.#stopped = true;
    await this.#loops;
    return this.#acknowledged;
  }

  async #loop(token, loop) {
    for (let n = 0; !this.#stopped; n++) {
      const id = `${loop}-${n}`;
      this.#acknowledged.push(await this.#send(token, { client_id: id, type: 'text', body: { text: `message ${id}` } }));
      await sleep(25);
    }
  }

  // Repeats a send until it is acknowledged: a failed request may have been stored, and its
  // client_id makes the repetition harmless.
  async #send(token, message) {
    for (;;) {
      try {
        const answer = await fetch(this.#server.url + to, {
          method: 'POST',
          headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
          body: JSON.stringify(message),
          signal: AbortSignal.timeout(5000),
        });
        const body = await answer.json();
        if (answer.ok) return body;
        assert.equal(answer.status, 503, `sending was refused: ${body.code}`);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
      }
      this.retries++;
      await sleep(50);
    }
  }
}

// ---- listeners ----

/** A page of bob's on the server's origin, with an EventSource of its own. */
class Listener {
  messages = []; // of message.created, in order of arrival
  tickets = [];
  cursor = ''; // the last id received
  readies = 0;
  resets = 0;
  errors = 0; // calls of onerror
  closed = 0; // those after which the EventSource gave up
  refused = 0; // 401 answers to a request for the stream
  #page;
  #token;
  #waiting = new Set();

  static async open(browser, server) {
    const listener = new Listener();
    listener.#token = await server.token('bob', '--device', 'browser');
    const page = await (await browser.newContext()).newPage();
    await page.exposeFunction('tell', frame => listener.#told(frame));
    page.on('response', answer => {
      if (!answer.url().includes('/v1/events?') || answer.status() !== 401) return;
      listener.refused++;
      listener.#changed();
    });
    await page.goto(server.url + '/healthz'); // a page of the server that does nothing by itself
    listener.#page = page;
    return listener;
  }

  /** Fetches a ticket in the page and listens there. */
  async listen(cursor) {
    const ticket = await this.#page.evaluate(async ({ token, cursor }) => {
      const answer = await fetch('/v1/events/tickets', { method: 'POST', headers: { Authorization: 'Bearer ' + token } });
      if (answer.status !== 201) throw new Error('ticket: ' + answer.status);
      const { ticket } = await answer.json();
      const query = new URLSearchParams(cursor ? { ticket, cursor } : { ticket });
      const source = new EventSource('/v1/events?' + query);
      for (const type of ['ready', 'reset', 'message.created']) {
        source.addEventListener(type, frame => window.tell({ type, id: frame.lastEventId, data: frame.data }));
      }
      source.onerror = () => window.tell({ type: 'error', closed: source.readyState === EventSource.CLOSED });
      return ticket;
    }, { token: this.#token, cursor });
    this.tickets.push(ticket);
  }

  counts() {
    return { messages: this.messages.length, errors: this.errors, readies: this.readies };
  }

  /** Waits until a condition on the page is true. */
  until(what, condition) {
    if (condition()) return Promise.resolve();
    return new Promise((done, fail) => {
      const waiter = { condition, done };
      this.#waiting.add(waiter);
      setTimeout(() => {
        if (this.#waiting.delete(waiter)) fail(new Error(`waited 30 s for ${what}: ${JSON.stringify(this.counts())}`));
      }, 30_000).unref();
    });
  }

  #told({ type, id, data, closed }) {
    switch (type) {
      case 'ready': this.readies++; break;
      case 'reset': this.resets++; break;
      case 'error': this.errors++; if (closed) this.closed++; break;
      default: {
        const event = JSON.parse(data);
        this.messages.push({ id, event_id: event.id, seq: event.seq, message_id: event.message_id, text: event.message.body.text });
      }
    }
    if (id) this.cursor = id;
    this.#changed();
  }

  #changed() {
    for (const waiter of this.#waiting) {
      if (waiter.condition()) {
        this.#waiting.delete(waiter);
        waiter.done();
      }
    }
  }
}

process.exit(await run(tests, deadline));
