// Bundles the fuzzer and runs it: node scripts/fuzz.mjs [--seconds N] [--parser NAME] [--seed N] [--replay FILE]
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.mjs";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const place = join("node_modules", ".cache", "convert-checkpoint-fuzz");
await bundle("test/fuzz/main.ts", place);
const { status } = spawnSync(process.execPath, [join(place, "convert-checkpoint.js"), ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exit(status ?? 1);
