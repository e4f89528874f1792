// The process that tests kill, built once a test file.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { build } from "esbuild";
import type { ChildOptions } from "./execute-child.ts";

export async function buildChild(folder: string): Promise<void> {
  const entry = new URL("execute-child.ts", import.meta.url).pathname;
  const outfile = join(folder, "child.mjs");
  await build({ entryPoints: [entry], outfile, bundle: true, platform: "node", format: "esm", logLevel: "error" });
}

export const runChild = (folder: string, options: ChildOptions) =>
  spawnSync(process.execPath, [join(folder, "child.mjs"), JSON.stringify(options)], { encoding: "utf8" });
