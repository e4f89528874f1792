// Bundles the command into a folder: `--help` must not load yargs file by file. Takes TypeScript or what tsc made of it.
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

/** @param threads modules that run as threads, by the names that those who start them know */
export async function bundle(entry, outdir, threads = {}) {
  await build({
    entryPoints: { "convert-checkpoint": entry, ...threads },
    outdir,
    bundle: true,
    splitting: true,
    minify: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["webgpu", "sharp", "undici", "@huggingface/*"],
    alias: {
      "string-width": "./scripts/string-width.cjs",
      // Its main file finds its parts by a `require` that esbuild cannot follow.
      "jsonc-parser": "jsonc-parser/lib/esm/main.js",
    },
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    logLevel: "warning",
  });
  chmodSync(join(outdir, "convert-checkpoint.js"), 0o755);
}
