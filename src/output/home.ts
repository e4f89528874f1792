// The hidden folder beside a target that an output is made in, its name and its entries (docs/formats.md).
import { createHash } from "node:crypto";
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputError } from "../base/errors.ts";
import { entryAt } from "./exchange.ts";

const SUFFIX = ".convert-checkpoint-partial";
/** Bytes of a name on eCryptfs; others take 255. */
const NAME_LIMIT = 143;
const HASH_LENGTH = 12;

/** Where the output for an absolute path is made. */
export const homeOf = (target: string): string => hiddenBeside(target, SUFFIX);

export const isHomeName = (name: string): boolean => name.startsWith(".") && name.endsWith(SUFFIX);

/** A hidden name beside an absolute path. A long one is cut, and told from others by its hash. */
export const hiddenBeside = (target: string, suffix: string): string =>
  join(dirname(target), `.${shortened(basename(target), suffix)}${suffix}`);

function shortened(name: string, suffix: string): string {
  const room = NAME_LIMIT - 1 - suffix.length;
  if (Buffer.byteLength(name) <= room) return name;
  let begin = "";
  for (const character of name) {
    if (Buffer.byteLength(begin + character) > room - HASH_LENGTH - 1) break;
    begin += character;
  }
  return `${begin}~${createHash("sha256").update(name).digest("hex").slice(0, HASH_LENGTH)}`;
}

/** What is written so far. */
export const outOf = (home: string): string => join(home, "out");
/** The whole new output before it is exchanged with the target, and what stood there afterwards. */
export const swapOf = (home: string, run: string): string => join(home, `swap-${run}`);
/** What stood at the target, whole, while nothing does. */
export const oldOf = (home: string, run: string): string => join(home, `old-${run}`);
/** What is being deleted and may be there in part. */
export const goneOf = (home: string, name: string): string => join(home, `gone-${name}`);

/** Entries of the folder, sorted; none where it is not there. Throws InputError where a file or a link has its name. */
export function entriesOf(home: string): string[] {
  const stats = entryAt(home);
  if (stats === null) return [];
  if (stats.isDirectory()) return fs.readdirSync(home).toSorted();
  throw new InputError("PARTIAL_CHANGED", `${home}: is no folder that was made here`, {
    file: home,
    expected: "a folder",
    found: stats.isSymbolicLink() ? "a link" : "something else",
    help: "look at what it is, and move it away yourself",
  });
}

const ENTRY = /^(?:journal|out|(?:gone-)?(?:swap|old)-[0-9a-f-]+)$/;

/** Entries that we do not make. */
export const foreignEntries = (home: string): string[] => entriesOf(home).filter((name) => !ENTRY.test(name));
