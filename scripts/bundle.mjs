// Bundles the command into a folder: one file, as loading a hundred takes longer than what most of them do. Takes TypeScript
// or what tsc made of it.
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const command = "convert-checkpoint";
const HEAD = `const __bundle = require("node:url").pathToFileURL(__filename).href, { imported: __import } = require("./load.js");
`;

/**
 * @param threads modules that run as threads, by the names that those who start them know
 * @param inside modules that only who loads the bundle can have
 */
export async function bundle(entry, outdir, threads = {}, inside = {}) {
  const programs = { [command]: entry, ...threads };
  const list = Object.entries({ ...programs, ...inside }).map(
    ([name, path]) => `${JSON.stringify(name)}: () => import(${JSON.stringify(resolve(path))})`,
  );
  const { outputFiles } = await build({
    stdin: { contents: `module.exports = { ${list.join(", ")} };`, resolveDir: resolve("."), loader: "js" },
    write: false,
    bundle: true,
    minify: true,
    platform: "node",
    // What Node requires it compiles by itself, and keeps compiled: see load.cjs.
    format: "cjs",
    target: "node20",
    charset: "ascii",
    legalComments: "none",
    external: ["webgpu", "sharp", "undici", "@huggingface/*"],
    alias: {
      "string-width": "./scripts/string-width.cjs",
      "escalade/sync": "./scripts/escalade.cjs",
      // Its main file finds its parts by a `require` that esbuild cannot follow.
      "jsonc-parser": "jsonc-parser/lib/esm/main.js",
    },
    define: { "import.meta.url": "__bundle" },
    logLevel: "warning",
  });
  mkdirSync(outdir, { recursive: true });
  // A script that was compiled beforehand has no `import()` of its own but an experimental one, which looks beside where it was compiled.
  const text = outputFiles[0].text.replaceAll(/\bimport\(/g, "__import(");
  writeFileSync(join(outdir, "programs.js"), `${HEAD}${text}`);
  writeFileSync(join(outdir, "package.json"), '{ "type": "commonjs" }\n');
  copyFileSync(fileURLToPath(new URL("bundle/load.cjs", import.meta.url)), join(outdir, "load.js"));
  for (const name of Object.keys(programs)) {
    const path = join(outdir, `${name}.js`);
    writeFileSync(path, `#!/usr/bin/env node\nrequire("./load.js").programs()[${JSON.stringify(name)}]();\n`);
    chmodSync(path, 0o755);
  }
}
