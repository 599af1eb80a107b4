/**
 * Builds the client into the Python package.
 *
 * `node build.mjs` writes the files; `node build.mjs --check` writes nothing and fails when the files that are there
 * differ from what the source builds. Both fail when a script has become larger than it may be, and
 * `node build.mjs --sizes` tells which modules a script is made of.
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { rollup } from 'rollup';
import { dts } from 'rollup-plugin-dts';

const here = new URL('./', import.meta.url);
const output = new URL('../jchannel/_client/static/', here);

/**
 * The most bytes of the scripts that pages and notebooks load, gzipped. The room above what they have is for fixes: whoever
 * needs more says so here: frames whose attachments are apart took 0.7 kB, what each engine lets a page reach 0.2, and
 * answers that leave in the step of their calls 0.1.
 */
const MOST_GZIPPED = {
  'jchannel.js': 27_800,
  'inject.js': 27_800,
  'notebook.js': 32_000,
  'notebook-widget.js': 34_600,
  'notebook-loader.js': 2_200,
};

/** The bytes of each module in each script. */
const sizes = {};

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
    metafile: true,
    logLevel: 'silent',
  });
  const [{ inputs }] = Object.values(result.metafile.outputs);
  sizes[entry] = Object.entries(inputs).map(([name, { bytesInOutput }]) => [bytesInOutput, name]);
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

for (const [name, most] of Object.entries(MOST_GZIPPED)) {
  const { length } = gzipSync(files[name], { level: 9 });
  if (length > most) {
    console.error(`${name} has ${length} bytes gzipped, and ${most} are the most: see MOST_GZIPPED in jsclient/build.mjs.`);
    process.exitCode = 1;
  }
}

if (process.argv.includes('--sizes')) {
  for (const [entry, modules] of Object.entries(sizes)) {
    console.log(`${entry}:`);
    for (const [bytes, name] of modules.sort(([left], [right]) => right - left)) {
      console.log(`${String(bytes).padStart(8)}  ${name}`);
    }
  }
} else if (process.argv.includes('--check')) {
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
