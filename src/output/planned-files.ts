// What lies where an output is made, against what is planned to be there.
import fs from "node:fs";
import { join } from "node:path";
import { InputError } from "../base/errors.ts";

/** Bytes of files by name, with `/` between the parts of a name. */
type Sizes = ReadonlyMap<string, number>;

/**
 * Removes everything from a folder but planned files: what else came there would be published with them. A link, and a file
 * that has another name elsewhere, is none of ours to write to.
 */
export function keepPlanned(folder: string, sizes: Sizes): void {
  for (const { path, isPlanned } of look(folder, sizes)) {
    if (!isPlanned || fs.lstatSync(path).nlink > 1) fs.rmSync(path, { recursive: true });
  }
}

/** Removes what is not planned, and throws InputError PARTIAL_CHANGED where a planned file is not there, whole. */
export function requirePlanned(folder: string, sizes: Sizes): void {
  const found = new Set<string>();
  for (const { path, name, isPlanned } of look(folder, sizes)) {
    if (!isPlanned) fs.rmSync(path, { recursive: true });
    else if (fs.lstatSync(path).size === sizes.get(name)) found.add(name);
  }
  const missing = [...sizes.keys()].find((name) => !found.has(name));
  if (missing === undefined) return;
  const file = join(folder, missing);
  throw new InputError("PARTIAL_CHANGED", `${file}: no longer holds what this run wrote`, {
    file,
    expected: `${sizes.get(missing)} bytes`,
    help: "run again when nothing else writes to the folder",
  });
}

interface Entry {
  readonly path: string;
  readonly name: string;
  readonly isPlanned: boolean;
}

function look(folder: string, sizes: Sizes, within = ""): Entry[] {
  return fs.readdirSync(join(folder, within), { withFileTypes: true }).flatMap((entry) => {
    const name = within === "" ? entry.name : `${within}/${entry.name}`;
    const isParent = entry.isDirectory() && [...sizes.keys()].some((each) => each.startsWith(`${name}/`));
    if (isParent) return look(folder, sizes, name);
    return [{ path: join(folder, name), name, isPlanned: sizes.has(name) && entry.isFile() }];
  });
}

/** Bytes of all files below a folder; 0 where it is not there. */
export function bytesBelow(folder: string): number {
  if (!fs.existsSync(folder)) return 0;
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.lstatSync(join(entry.parentPath, entry.name)).size, 0);
}
