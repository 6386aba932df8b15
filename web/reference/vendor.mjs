// Writes scalar.js.gz: the renderer of the reference, from npm, of one version with one hash.
// With --check it compares instead. To update: change both, run it, and look at /docs.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

const version = '1.76.0';
const integrity = 'sha512-pjqwnzmA9YK3ZX+IZSICMsywm4qI6HLSngR2py9H6TvFApHHuJjkTAd+gFJfnqJDzJuro8k7ji6JCtJ2U+Byng==';
const target = new URL('scalar.js.gz', import.meta.url);

const directory = mkdtempSync(join(tmpdir(), 'imapi-scalar-'));
try {
  const [archive] = JSON.parse(execFileSync('npm', ['pack', '--json', `@scalar/api-reference@${version}`], { cwd: directory, encoding: 'utf8' }));
  const file = join(directory, archive.filename);
  const found = 'sha512-' + createHash('sha512').update(readFileSync(file)).digest('base64');
  if (found !== integrity) throw new Error(`the package has the hash ${found}, want ${integrity}`);
  const script = execFileSync('tar', ['xzOf', file, 'package/dist/browser/standalone.js'], { maxBuffer: 64 << 20 })
    .toString().replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n');
  if (!process.argv.includes('--check')) {
    writeFileSync(target, gzipSync(script, { level: 9 }));
  } else if (gunzipSync(readFileSync(target)).toString() !== script) {
    throw new Error('web/reference/scalar.js.gz is not what npm has: run node web/reference/vendor.mjs');
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
