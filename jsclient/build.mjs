/**
 * Builds the client into the Python package.
 *
 * `node build.mjs` writes the files; `node build.mjs --check` writes nothing and fails when the files that are there
 * differ from what the source builds.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';

const here = new URL('./', import.meta.url);
const output = new URL('../jchannel/_client/static/', here);

/** Bundles one entry point with esbuild, minified. */
async function bundle(entry, format) {
  const result = await build({
    entryPoints: [`src/${entry}.ts`],
    absWorkingDir: fileURLToPath(here),
    bundle: true,
    minify: true,
    format,
    target: 'es2022',
    charset: 'utf8',
    legalComments: 'none',
    write: false,
    logLevel: 'silent',
  });
  if (result.warnings.length > 0) {
    throw new Error(`esbuild warns about ${entry}: ${result.warnings.map(({ text }) => text).join('; ')}`);
  }
  return result.outputFiles[0].text;
}

/** Bundles the types of the ES module into one file. */
async function bundleTypes() {
  const types = await rollup({
    input: fileURLToPath(new URL('src/index.ts', here)),
    plugins: [dts({ tsconfig: fileURLToPath(new URL('src/tsconfig.json', here)) })],
    onwarn: (warning) => {
      throw new Error(`rollup warns about the types: ${warning.message}`);
    },
  });
  const { output: chunks } = await types.generate({ format: 'es' });
  return chunks[0].code;
}

const files = {
  'jchannel.js': await bundle('index', 'esm'),
  'inject.js': await bundle('inject', 'iife'),
  'notebook.js': await bundle('notebook/client', 'iife'),
  'notebook-widget.js': await bundle('notebook/widget', 'esm'),
  'notebook-loader.js': await bundle('notebook/loader', 'iife'),
  'jchannel.d.ts': await bundleTypes(),
  // For `python -m jchannel doctor`, and served by no other server.
  '../../_doctor/page/doctor.js': await bundle('doctor/page', 'iife'),
};

if (process.argv.includes('--check')) {
  const outdated = [];
  for (const [name, text] of Object.entries(files)) {
    if ((await readFile(new URL(name, output), 'utf8').catch(() => null)) !== text) {
      outdated.push(name);
    }
  }
  if (outdated.length > 0) {
    console.error(
      `Not what the source builds: ${outdated.join(', ')} in jchannel/_client/static/. ` +
        'Run "npm run build" in jsclient/ and commit the result.',
    );
    process.exitCode = 1;
  }
} else {
  await mkdir(output, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    await writeFile(new URL(name, output), text);
    console.log(`${name}: ${Buffer.byteLength(text)} bytes, ${gzipSync(text).length} gzipped`);
  }
}
