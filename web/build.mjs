// Builds the page into ../egress/page/dist, from where Go embeds it; with
// --tests, builds the tests into .test instead.
import { build } from 'esbuild';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const out = '../egress/page/dist';

if (process.argv.includes('--tests')) {
  await rm('.test', { recursive: true, force: true });
  const tests = (await readdir('test')).filter((f) => f.endsWith('.test.ts'));
  await build({
    entryPoints: tests.map((f) => join('test', f)),
    bundle: true, platform: 'node', format: 'esm', target: 'node18',
    outdir: '.test', outExtension: { '.js': '.mjs' },
  });
} else {
  for (const name of await readdir(out).catch(() => [])) {
    if (name !== '.gitkeep') await rm(join(out, name), { recursive: true });
  }
  const { metafile } = await build({
    entryPoints: { app: 'src/main.ts', style: 'src/style.css', icon: 'src/icon.svg' },
    bundle: true, splitting: true, format: 'esm', target: 'es2020',
    minify: true, legalComments: 'none', metafile: true, loader: { '.svg': 'copy' },
    outdir: join(out, 'assets'),
    entryNames: '[name]-[hash]', chunkNames: '[name]-[hash]', assetNames: '[name]-[hash]',
  });
  // Names hold a hash, so they may be kept for ever; the page names them.
  const url = (file) => '/assets/' + file.split('/assets/')[1];
  const names = {};
  for (const [file, made] of Object.entries(metafile.outputs)) {
    if (made.entryPoint) names[made.entryPoint.replace('src/', '')] = url(file);
    if (Object.keys(made.inputs).some((i) => i.includes('hls.js/dist'))) names.hls = url(file);
    if (file.endsWith('.svg')) names['icon.svg'] = url(file);
  }
  const html = (await readFile('src/index.html', 'utf8')).replace(/\{\{(.*?)\}\}/g, (_, n) => {
    if (!names[n]) throw new Error(`index.html: nothing was built of ${n}`);
    return names[n];
  });
  await mkdir(out, { recursive: true });
  await writeFile(join(out, 'index.html'), html);
  let total = 0;
  for (const file of [...Object.keys(metafile.outputs), join(out, 'index.html')]) {
    const plain = await readFile(file);
    const packed = gzipSync(plain, { level: 9 });
    const smaller = packed.length < plain.length;
    if (smaller) await writeFile(file + '.gz', packed);
    total += smaller ? packed.length : plain.length;
  }
  console.log(`page: ${(total / 1024).toFixed(0)} KiB over the wire`);
}
