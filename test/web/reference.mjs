// The reference at /docs as a developer sees it, in a real Chromium.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { run } from './run.mjs';
import { Server } from './server.mjs';

const deadline = 120_000; // of one test

const tests = {
  'it shows every operation and every event': shows,
  'requests can be tried, signed in by the server in development': tries,
  'requests can be tried with a token': triesWithToken,
  'the address with a slash at the end': withSlash,
  'a server without it': off,
};

const document = readFileSync(new URL('../../api/openapi.yaml', import.meta.url), 'utf8');

/** Opens the reference, and records what its console and its requests say. */
async function open(browser, server) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.faults = [];
  page.on('pageerror', error => page.faults.push(`thrown: ${error.stack}`));
  page.on('console', line => {
    if (line.type() === 'error' || line.type() === 'warning') page.faults.push(`${line.text()} (${line.location().url})`);
  });
  page.on('request', request => {
    const url = new URL(request.url());
    if (!['blob:', 'data:'].includes(url.protocol) && url.origin !== server.url) page.faults.push(`a request to ${url.origin}`);
  });
  await page.goto(server.url + '/docs');
  await page.getByRole('heading', { name: 'imapi', exact: true }).waitFor();
  return page;
}

const quiet = page => assert.deepEqual(page.faults, [], 'no errors, violations of the policy, or requests to other hosts');

/** The list at the left, with all of its groups open. */
async function openMenu(page) {
  const menu = page.locator('aside').first();
  const closed = menu.getByRole('button', { name: /^Open Group/ });
  while (await closed.count()) await closed.first().click();
  return menu;
}

async function shows(browser) {
  const server = await Server.start();
  const page = await open(browser, server);
  const menu = await openMenu(page);
  const shown = await menu.innerText();
  const operations = [...document.matchAll(/^      operationId: .*\n(?:      .*\n)*?      summary: (.*)$/gm)].map(match => match[1]);
  assert.ok(operations.length > 80, `${operations.length} operations`);
  for (const summary of operations) assert.ok(shown.includes(summary), `it does not show the operation "${summary}"`);
  // Events have a section of their own, by their names.
  const events = [...document.matchAll(/^          ([\w.]+): '#\/components\/schemas\/Event[A-Z]\w+'$/gm)].map(match => match[1]);
  assert.ok(events.length >= 40, `${events.length} events`);
  const section = menu.locator('li', { has: page.getByText('event types', { exact: true }) }).last();
  const entries = (await section.innerText()).split('\n').map(line => line.trim());
  for (const event of events) assert.ok(entries.includes(event), `the section of events does not show ${event}`);

  // An event, opened.
  await section.getByText('message.burn_started', { exact: true }).click();
  await page.getByText('burn_at', { exact: true }).filter({ visible: true }).first().waitFor();
  const shownEvents = page.locator('section[id*="/webhook/"]');
  assert.ok(await shownEvents.count() > 0);
  assert.equal(await shownEvents.getByRole('button', { name: /^Test Request/ }).filter({ visible: true }).count(), 0, 'no request can be tried');
  quiet(page);
}

/** Sends the request that the form of an operation has, and returns its answer. */
async function send(page, summary, operation) {
  await (await openMenu(page)).getByText(summary, { exact: true }).click();
  await page.getByRole('button', { name: `Test Request (${operation})` }).click();
  const answer = page.waitForResponse(response => new URL(response.url()).pathname.startsWith('/v1/'));
  await page.getByRole('button', { name: /^Send Request/ }).click();
  return answer;
}

async function tries(browser) {
  const server = await Server.start();
  const page = await open(browser, server);
  const answer = await send(page, 'Count unread messages', 'get /v1/unread');
  assert.equal(answer.status(), 200);
  assert.match(await answer.request().headerValue('authorization'), /^Bearer ey/);
  assert.equal((await answer.json()).total, 0);
  quiet(page);
}

async function triesWithToken(browser) {
  const server = await Server.start('--demo=false');
  const page = await open(browser, server);
  await page.getByRole('textbox', { name: /Token/ }).or(page.getByPlaceholder('Token')).first().fill(await server.token('爱丽丝'));
  const answer = await send(page, 'Count unread messages', 'get /v1/unread');
  assert.equal(answer.status(), 200);
  quiet(page);
  assert.equal(await page.evaluate(() => Object.values({ ...localStorage, ...sessionStorage }).some(value => value.includes('eyJ'))), false, 'no token is stored');
}

async function withSlash(browser) {
  const server = await Server.start();
  const page = await (await browser.newContext()).newPage();
  await page.goto(server.url + '/docs/');
  assert.equal(page.url(), server.url + '/docs');
  await page.getByRole('heading', { name: 'imapi', exact: true }).waitFor();
}

async function off() {
  const server = await Server.start('--docs=false');
  for (const path of ['/docs', '/docs/', '/docs/scalar.js', '/docs/reference.js']) {
    const answer = await fetch(server.url + path);
    assert.equal(answer.status, 404, path);
    await answer.arrayBuffer();
  }
}

process.exit(await run(tests, deadline));
