// Runs tests in one Chromium, each with a deadline, and discards what they started.
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { Proxy } from './proxy.mjs';
import { Server } from './server.mjs';

async function withDeadline(work, deadline) {
  const late = new AbortController();
  try {
    await Promise.race([work, sleep(deadline, null, { signal: late.signal }).then(() => {
      throw new Error(`not done after ${deadline / 1000} s`);
    })]);
  } finally {
    late.abort();
  }
}

/** Runs those tests whose name includes the argument of the command, and returns its exit code. */
export async function run(tests, deadline) {
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  console.log(`Chromium ${browser.version()}`);
  let passed = 0, failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    if (!name.includes(process.argv[2] ?? '')) continue; // node browser.mjs nginx
    const began = Date.now();
    try {
      await withDeadline(test(browser), deadline);
      passed++;
      console.log(`ok  ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed++;
      console.error(`FAILED  ${name}\n`, error);
      for (const server of Server.all()) console.error(`the server's log:\n${server.readLog()}`);
    } finally {
      await Promise.all(browser.contexts().map(context => context.close()));
      Proxy.all().forEach(proxy => proxy.discard());
      Server.all().forEach(server => server.discard());
    }
  }
  await browser.close();
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
