// What the harnesses of kills share: seeded randomness, what stands at a path, and the built command.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const command = fileURLToPath(new URL("../../dist/bin/convert-checkpoint.js", import.meta.url));

/** Numbers in [0, 1), the same for a seed. */
export function randomOf(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export const filesOf = (path) =>
  statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
        .sort()
    : [""];

export function digestOf(path) {
  const hash = createHash("sha256");
  for (const name of filesOf(path)) hash.update(`${name}\0`).update(readFileSync(join(path, name)));
  return hash.digest("hex");
}

/** What a reader sees at a glance: names and sizes; null where there is nothing. */
export function glance(path) {
  try {
    return filesOf(path)
      .map((name) => `${name}:${statSync(join(path, name)).size}`)
      .join("|");
  } catch (error) {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  }
}

export const convert = (args) => spawnSync(process.execPath, [command, ...args], { encoding: "utf8" });

export function must(args) {
  const { status, stderr } = convert(args);
  if (status !== 0) throw new Error(`${args.join(" ")}: exit ${status}\n${stderr}`);
}
