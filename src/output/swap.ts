// Replaces a target such that a kill at any moment leaves the old or the new one, whole, and finds its way back after one.
// Where two names can be exchanged at once, one of them is always at the target. Elsewhere it takes two renames; a kill
// between them leaves nothing there, until the next of our commands that reads the name or writes to it.
import fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { InputError } from "../base/errors.ts";
import { exchange, inodeOf } from "./exchange.ts";
import { entriesOf, goneOf, homeOf, oldOf, outOf, swapOf } from "./home.ts";
import {
  appendClaim,
  appendRelease,
  appendSwap,
  type Claim,
  JOURNAL_NAME,
  ownClaim,
  readJournal,
  type Swap,
} from "./journal.ts";
import { writing } from "./staging-errors.ts";

/** `output` is the whole new one, in the folder `home`. Afterwards the old one is in `home`. Throws what renaming throws. */
export function replaceTarget(home: string, target: string, output: string, run: string): void {
  const moving = swapOf(home, run);
  const inode = inodeOf(output) ?? "";
  appendSwap(home, { run, inode, file: output === outOf(home) ? null : basename(output) });
  fs.renameSync(output, moving);
  try {
    if (!exchange(moving, target)) renameBoth(target, moving, oldOf(home, run));
  } catch (error) {
    if (inodeOf(moving) === inode) fs.renameSync(moving, output);
    throw error;
  }
}

function renameBoth(target: string, moving: string, old: string): void {
  fs.renameSync(target, old);
  try {
    fs.renameSync(moving, target);
  } catch (error) {
    fs.renameSync(old, target);
    throw error;
  }
}

export interface Recovery {
  /** Whether the former target stands at its name again. */
  readonly isRestored: boolean;
  /** A former target, whole, that neither stands at its name nor was replaced by ours: it is for the user to decide. */
  readonly kept: string | null;
}

/**
 * Undoes a replacement that was broken off, or marks what it replaced for deletion. Its caller holds the folder.
 * Throws what renaming throws.
 */
export function recoverTarget(home: string, target: string): Recovery {
  const { swaps } = readJournal(home);
  let isRestored = false;
  let kept: string | null = null;
  const names = entriesOf(home);
  for (const old of names.filter((name) => name.startsWith("old-"))) {
    const run = old.slice("old-".length);
    const path = oldOf(home, run);
    if (inodeOf(target) === null) {
      fs.renameSync(path, target);
      isRestored = true;
    } else if (inodeOf(swapOf(home, run)) === null) {
      fs.renameSync(path, goneOf(home, old)); // The new one left this folder for the target.
    } else kept = path;
  }
  for (const { run, inode, file } of kept === null ? swaps : []) {
    const path = swapOf(home, run);
    const found = inodeOf(path);
    if (found === null) continue;
    if (found === inode) putBack(home, { run, inode, file });
    else if (inodeOf(target) === inode) fs.renameSync(path, goneOf(home, basename(path)));
    else if (inodeOf(target) === null) {
      fs.renameSync(path, target);
      isRestored = true;
    } else kept = path;
  }
  return { isRestored, kept };
}

/** The new one, which did not reach the target: it can still be continued. */
function putBack(home: string, { run, file }: Swap): void {
  const out = outOf(home);
  if (file !== null) fs.mkdirSync(out, { recursive: true });
  fs.renameSync(swapOf(home, run), file === null ? out : join(out, file));
}

/**
 * Removes the folder of a target that has its name, or of one that was given up, with what was replaced. Gives the path
 * of what cannot be deleted; then the journal stays with it, and all else is gone.
 */
export function removeHome(home: string): string | null {
  let left: string | null = null;
  for (const name of entriesOf(home).filter((each) => each !== JOURNAL_NAME)) {
    try {
      fs.rmSync(toDelete(home, name), { recursive: true, force: true });
    } catch {
      const gone = goneOf(home, name);
      left ??= inodeOf(gone) === null ? join(home, name) : gone;
    }
  }
  if (left === null) fs.rmSync(home, { recursive: true, force: true });
  return left;
}

/** Renamed first: from then on it may be there in part, and is never taken for a whole one. */
function toDelete(home: string, name: string): string {
  const path = join(home, name);
  if (!/^(?:old|swap)-/.test(name)) return path;
  fs.renameSync(path, goneOf(home, name));
  return goneOf(home, name);
}

/** Claims a folder that is there: of several claims the first whose process runs holds. Throws InputError TARGET_BUSY. */
export function claimHome(home: string, target: string): Claim {
  const claim = ownClaim();
  appendClaim(home, claim, basename(target));
  const { holder } = readJournal(home);
  if (holder === null || holder.run === claim.run) return claim;
  appendRelease(home, claim);
  return failBusy(target, holder);
}

export function failBusy(target: string, { pid }: Claim): never {
  throw new InputError("TARGET_BUSY", `${target}: process ${pid} is writing to it`, {
    file: target,
    found: `process ${pid}`,
    help: "wait until it is done, or stop it",
  });
}

/** Two renames take microseconds: whoever needs longer than this was stopped between them. */
const PATIENCE_MS = 2000;
const POLL_MS = 20;

/**
 * Gives a path that is to be read its content back where a replacement of it, or of a folder that holds it, was broken off.
 * Costs one look at the disk where something has that name. Throws EnvironmentError where it cannot be renamed.
 */
export async function restoreTarget(path: string): Promise<void> {
  for (let target = resolve(path); inodeOf(target) === null && dirname(target) !== target; target = dirname(target)) {
    const home = homeOf(target);
    const isReplacing = () => inodeOf(target) === null && entriesOf(home).some((name) => /^(?:old|swap)-/.test(name));
    for (let waited = 0; waited < PATIENCE_MS && isReplacing(); waited += POLL_MS) {
      if (readJournal(home).holder === null) {
        writing(target, () => {
          const claim = claimHome(home, target);
          recoverTarget(home, target);
          appendRelease(home, claim);
        });
        break;
      }
      await setTimeout(POLL_MS);
    }
  }
}
