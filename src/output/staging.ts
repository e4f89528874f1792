// Where an output is made before it takes its name: a hidden folder beside the target, which holds the journal, what is
// written so far (`out`) and, while a target is being replaced, what stood there (`old`). Final names appear last.
import fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { EnvironmentError, InputError } from "../base/errors.ts";
import {
  appendClaim,
  appendPlan,
  appendRelease,
  type Claim,
  type FileProgress,
  ownClaim,
  readJournal,
} from "./journal.ts";
import { checkTarget, failExists, type Standing, type TargetCheck } from "./safe-target.ts";
import { writing } from "./staging-errors.ts";

export interface StagingOptions {
  /** Path that the output gets at the end. */
  readonly target: string;
  /** Digest of all that the bytes depend on. */
  readonly plan: string;
  /** Bytes that will be written in all. */
  readonly totalBytes: number;
  readonly resume: boolean;
  /** What the target may be. */
  readonly check: TargetCheck;
}

export interface Staging {
  readonly home: string;
  /** A directory target, or a directory that holds the single file of a file target. */
  readonly out: string;
  readonly target: string;
  readonly progress: ReadonlyMap<number, FileProgress>;
  readonly claim: Claim;
  readonly check: TargetCheck;
  /** Whether something that may go stood at the target before a byte was written. */
  readonly isTaken: boolean;
  /** First of the parent folders that were created for the target. */
  readonly createdParent: string | undefined;
}

export const homeOf = (target: string): string =>
  join(dirname(target), `.${basename(target)}.convert-checkpoint-partial`);

/**
 * Takes the staging folder of a target, fresh or, with `resume`, as an earlier run left it.
 * Throws InputError (TARGET_EXISTS, TARGET_UNSAFE, TARGET_BUSY, PARTIAL_OF_ANOTHER_PLAN) and EnvironmentError.
 */
export function openStaging(options: StagingOptions): Staging {
  const { plan, resume, check } = options;
  const target = resolve(options.target);
  const isTaken = checkTarget(target, check) !== null;
  const home = homeOf(target);
  if (resume) checkPlan(home, plan, target);
  checkSpace(dirname(target), options.totalBytes, resume ? sizeOf(home) : 0);
  const createdParent = writing(target, () => fs.mkdirSync(dirname(target), { recursive: true }));
  const claim = takeHome(home, target);
  const out = join(home, "out");
  const staging = { home, out, target, claim, check, isTaken, createdParent, progress: new Map() };
  try {
    return writing(target, () => {
      restoreOld(staging);
      const journal = readJournal(home);
      if (resume && journal.plan === plan) return { ...staging, progress: journal.progress };
      for (const name of fs.readdirSync(home)) {
        if (name !== "journal") fs.rmSync(join(home, name), { recursive: true });
      }
      appendPlan(home, plan);
      fs.mkdirSync(staging.out);
      return staging;
    });
  } catch (error) {
    if (resume) releaseStaging(staging);
    else discardStaging(staging);
    throw error;
  }
}

function checkPlan(home: string, plan: string, target: string): void {
  const journal = readJournal(home);
  if (journal.holder !== null) failBusy(target, journal.holder);
  if (journal.plan === null || journal.plan === plan) return;
  throw new InputError("PARTIAL_OF_ANOTHER_PLAN", `${home}: was left by a conversion of other sources or options`, {
    file: home,
    help: "run again as then to continue it, or without --resume to begin anew",
  });
}

/** `parent` may not exist yet: then its nearest ancestor counts. */
function checkSpace(parent: string, totalBytes: number, alreadyThere: number): void {
  let folder = parent;
  while (!fs.existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  const { bavail, bsize, blocks } = fs.statfsSync(folder);
  const needed = totalBytes - alreadyThere;
  // Some network and user-space file systems report no sizes at all.
  if (blocks === 0 || bavail * bsize >= needed) return;
  throw new EnvironmentError("DISK_FULL", `${folder}: not enough space for the output`, {
    file: folder,
    expected: `${needed} bytes`,
    found: `${bavail * bsize} bytes`,
    help: "free some space, or write to another disk",
  });
}

function sizeOf(home: string): number {
  const out = join(home, "out");
  if (!fs.existsSync(out)) return 0;
  return fs
    .readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.statSync(join(entry.parentPath, entry.name)).size, 0);
}

/** Claims the folder: of several claims the first whose process runs holds. */
function takeHome(home: string, target: string): Claim {
  const claim = ownClaim();
  writing(target, () => {
    fs.mkdirSync(home, { recursive: true });
    appendClaim(home, claim);
  });
  const { holder } = readJournal(home);
  if (holder === null || holder.run === claim.run) return claim;
  appendRelease(home, claim);
  return failBusy(target, holder);
}

function failBusy(target: string, { pid }: Claim): never {
  throw new InputError("TARGET_BUSY", `${target}: process ${pid} is writing to it`, {
    file: target,
    found: `process ${pid}`,
    help: "wait until it is done, or stop it",
  });
}

/** After a run that was killed while it replaced the target: what came back is looked at like any other. */
function restoreOld({ home, target, check }: Staging): void {
  const old = join(home, "old");
  if (!fs.existsSync(old) || fs.existsSync(target)) return;
  fs.renameSync(old, target);
  checkTarget(target, check);
}

/**
 * Gives the output its final name. What stands there now is looked at again, and deleted last; it is returned.
 * Throws InputError TARGET_EXISTS, TARGET_UNSAFE where it is nothing that may go; then it stays as it is.
 */
export function commitStaging(staging: Staging, output: string, fsync: boolean): Standing | null {
  const { home, target, check, isTaken } = staging;
  return writing(target, () => {
    const stands = checkTarget(target, check);
    if (stands !== null && !isTaken && !check.force) failExists(target, APPEARED);
    if (stands?.kind === "empty folder") fillEmpty(target, output);
    else if (stands === null || isFileForFile(target, output)) fs.renameSync(output, target);
    else replace(target, output, join(home, "old"));
    if (fsync) syncFolder(dirname(target));
    fs.rmSync(home, { recursive: true });
    return stands;
  });
}

const isFileForFile = (target: string, output: string): boolean =>
  fs.lstatSync(target).isFile() && fs.lstatSync(output).isFile();

const APPEARED = "choose another target: something came to stand at this one during the run";

/** The file system itself refuses to take away a folder that is no longer empty. */
function fillEmpty(target: string, output: string): void {
  try {
    // Elsewhere a folder takes the place of an empty one at once.
    if (process.platform === "win32" || fs.lstatSync(output).isFile()) fs.rmdirSync(target);
    fs.renameSync(output, target);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOTEMPTY" || error.code === "EEXIST")) {
      failExists(target, APPEARED);
    }
    if (!fs.existsSync(target)) fs.mkdirSync(target);
    throw error;
  }
}

function replace(target: string, output: string, old: string): void {
  fs.renameSync(target, old);
  try {
    fs.renameSync(output, target);
  } catch (error) {
    fs.renameSync(old, target);
    throw error;
  }
}

/** Makes the names in a folder durable. Windows has no such call. */
export function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const fd = fs.openSync(path, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Leaves everything for a later run with `resume`. */
export function releaseStaging({ home, claim }: Staging): void {
  if (fs.existsSync(home)) appendRelease(home, claim);
}

/** Removes everything that was made for the target. */
export function discardStaging({ home, target, createdParent }: Staging): void {
  fs.rmSync(home, { recursive: true, force: true });
  if (createdParent === undefined) return;
  for (let folder = dirname(target); ; folder = dirname(folder)) {
    try {
      fs.rmdirSync(folder);
    } catch {
      return; // Someone else put something there.
    }
    if (folder === createdParent) return;
  }
}
