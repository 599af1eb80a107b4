import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

const SOURCE = fileURLToPath(new URL('../src', import.meta.url));

const texts = new Map(
  readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => [name, readFileSync(join(SOURCE, name), 'utf8')]),
);

/** Return the modules of the client that a module imports. */
function findImports(name: string, text: string): Set<string> {
  return new Set(
    ts.preProcessFile(text).importedFiles.map(({ fileName }) => {
      const target = normalize(join(dirname(name), fileName.replace(/\.js$/, '.ts')));
      expect(texts.has(target), `${name} imports ${fileName}`).toBe(true);
      return target;
    }),
  );
}

/** Remove what only the compiler needs, such as the imports of types. */
function removeTypes(text: string): string {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true };
  return ts.transpileModule(text, { compilerOptions }).outputText;
}

function makeGraph(edges: Iterable<readonly [string, ReadonlySet<string>]>): Graph {
  const graph = new Map<string, Set<string>>();
  for (const [from, targets] of edges) {
    graph.set(from, new Set([...(graph.get(from) ?? []), ...targets]));
  }
  return graph;
}

/** Return the first circle of a graph as a path, or `undefined` if there is none. */
function findCircle(graph: Graph): string | undefined {
  const done = new Set<string>();
  const visit = (node: string, path: readonly string[]): string | undefined => {
    if (path.includes(node)) {
      return [...path.slice(path.indexOf(node)), node].join(' -> ');
    }
    if (!done.has(node)) {
      for (const next of graph.get(node) ?? []) {
        const circle = visit(next, [...path, node]);
        if (circle !== undefined) {
          return circle;
        }
      }
      done.add(node);
    }
    return undefined;
  };
  for (const node of graph.keys()) {
    const circle = visit(node, []);
    if (circle !== undefined) {
      return circle;
    }
  }
  return undefined;
}

test('a circle is found', () => {
  const graph = makeGraph([
    ['a', new Set(['b', 'c'])],
    ['b', new Set(['c'])],
    ['c', new Set(['b'])],
  ]);
  expect(findCircle(graph)).toBe('b -> c -> b');
});

test('the modules import each other in no circle, types included', () => {
  expect(findCircle(makeGraph(Array.from(texts, ([name, text]) => [name, findImports(name, text)])))).toBeUndefined();
});

test('the folders import each other in no circle, but for types', () => {
  const graph = makeGraph(
    Array.from(texts, ([name, text]) => {
      const folder = folderOf(name);
      const others = [...findImports(name, removeTypes(text))].map(folderOf).filter((other) => other !== folder);
      return [folder, new Set(others)] as const;
    }),
  );
  expect(findCircle(graph)).toBeUndefined();
});

/** Return the folder of a module. Each module outside of the folders counts as a folder of its own. */
function folderOf(name: string): string {
  const folder = dirname(name);
  return folder === '.' ? name : folder;
}
