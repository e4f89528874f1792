// Compiles to dist/, bundles the command and compiles the bundle, writes its manual page.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.mjs";

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
rmSync("dist", { recursive: true, force: true });
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { stdio: "inherit" });
const threads = { "hub-thread": "dist/src/hub/hub-thread.js", "convert-thread": "dist/src/cli/threads/convert.js" };
await bundle("dist/src/cli/main.js", "dist/bin", threads, { cli: "dist/src/cli/cli.js" });
execFileSync(process.execPath, ["scripts/compile.mjs", "dist/bin"], { stdio: "inherit" });
const [{ manPage }, { VERSION }] = await Promise.all([
  import("../dist/src/cli/pages/man.js"),
  import("../dist/src/base/version.js"),
]);
mkdirSync("dist/man");
writeFileSync("dist/man/convert-checkpoint.1", manPage(VERSION));
