// Builds dist/ of src/. The same sources give the same bytes, which CI checks.
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
for (const name of ['index.html', 'icon.svg']) cpSync(`src/${name}`, `dist/${name}`);
await build({
  entryPoints: { app: 'src/main.tsx', style: 'src/style.css' },
  outdir: 'dist',
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
});
