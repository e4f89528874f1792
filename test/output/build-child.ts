// The process that tests kill, built once a test file.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
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

/** Dies between the two renames of a replacement: nothing stands at the name of a target that was there. */
export function killedBetween(folder: string, target: string, bytes: number): void {
  for (let killBefore = 1; fs.existsSync(target); killBefore += 1) {
    if (killBefore > 40) throw new Error("the target was never away");
    runChild(folder, { target, bytes, force: true, canExchange: false, killBefore });
  }
}
