// Bundles the fuzzer and runs it: node scripts/fuzz.mjs [--seconds N] [--parser NAME] [--seed N] [--replay FILE]
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const place = join("node_modules", ".cache", "convert-checkpoint-fuzz");
await build({
  entryPoints: ["test/fuzz/main.ts"],
  outdir: place,
  bundle: true,
  platform: "node",
  format: "esm",
  outExtension: { ".js": ".mjs" },
  // Node.js finds them from there.
  packages: "external",
});
const { status } = spawnSync(process.execPath, [join(place, "main.mjs"), ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exit(status ?? 1);
