// Where an output is made before it takes its name: a hidden folder beside the target, which holds the journal, what is
// written so far and, while a target is being replaced, what stood there. Final names appear last.
import fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { EnvironmentError, InputError } from "../base/errors.ts";
import { entriesOf, foreignEntries, homeOf, outOf } from "./home.ts";
import { appendPlan, appendRelease, type Claim, type DatedProgress, JOURNAL_NAME, readJournal } from "./journal.ts";
import { bytesBelow, keepPlanned, requirePlanned } from "./planned-files.ts";
import { checkTarget, failExists, type Standing, type TargetCheck } from "./safe-target.ts";
import { makeFolders, writing } from "./staging-errors.ts";
import { claimHome, failBusy, recoverTarget, removeHome, replaceTarget } from "./swap.ts";

export interface StagingOptions {
  /** Path that the output gets at the end. */
  readonly target: string;
  /** Digest of all that the bytes depend on, but for files with a digest of their own. */
  readonly plan: string;
  /** Bytes of the files that will be written, by name. */
  readonly sizes: ReadonlyMap<string, number>;
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
  readonly sizes: ReadonlyMap<string, number>;
  readonly progress: ReadonlyMap<string, DatedProgress>;
  readonly claim: Claim;
  readonly check: TargetCheck;
  /** Whether something that may go stood at the target before a byte was written. */
  readonly isTaken: boolean;
  /** First of the parent folders that were created for the target. */
  readonly createdParent: string | undefined;
}

/**
 * Takes the staging folder of a target, fresh or, with `resume`, as an earlier run left it. A replacement that an earlier
 * run did not end is undone or ended before.
 * Throws InputError (TARGET_EXISTS, TARGET_UNSAFE, TARGET_BUSY, PARTIAL_…) and EnvironmentError.
 */
export function openStaging(options: StagingOptions): Staging {
  const { plan, resume, check, sizes } = options;
  const target = resolve(options.target);
  const home = homeOf(target);
  const inherited = takeInherited(home, target);
  let made: Made | null = null;
  try {
    const isTaken = checkTarget(target, check) !== null;
    if (resume) checkPlan(home, plan);
    checkSpace(dirname(target), options.totalBytes, resume ? bytesBelow(outOf(home)) : 0);
    if (inherited === null) made = makeHome(home, target);
    const claim = inherited ?? made!.claim;
    const createdParent = made?.createdParent;
    const staging = { home, out: outOf(home), target, sizes, claim, check, isTaken, createdParent };
    return writing(target, () => ({ ...staging, progress: resume ? continued(staging, plan) : begun(staging, plan) }));
  } catch (error) {
    if (inherited !== null) {
      appendRelease(home, inherited);
      settleTarget(target);
    }
    if (made !== null) discardStaging({ home, target, createdParent: made.createdParent });
    throw error;
  }
}

interface Made {
  readonly claim: Claim;
  readonly createdParent: string | undefined;
}

function makeHome(home: string, target: string): Made {
  return writing(target, () => {
    const createdParent = makeFolders(dirname(target));
    makeFolders(home);
    return { claim: claimHome(home, target), createdParent };
  });
}

/**
 * Claims what earlier runs left for a target, and ends or undoes a replacement among it; null where they left nothing.
 * Throws InputError TARGET_BUSY, PARTIAL_HOLDS_OLD.
 */
function takeInherited(home: string, target: string): Claim | null {
  if (entriesOf(home).length === 0) return null;
  refuseForeign(home);
  return writing(target, () => {
    const { holder } = readJournal(home);
    if (holder !== null) failBusy(target, holder);
    const claim = claimHome(home, target);
    const { kept } = recoverTarget(home, target);
    if (kept === null) return claim;
    appendRelease(home, claim);
    throw new InputError("PARTIAL_HOLDS_OLD", `${kept}: is what stood at ${target} before a run that was killed`, {
      file: kept,
      expected: "the former target at its name, or the new one that replaced it",
      found: "something else there",
      help: "move it to where you want it, or delete it; then run again",
    });
  });
}

/** All in the folder is deleted sooner or later, so all must be ours. */
function refuseForeign(home: string): void {
  const [name] = foreignEntries(home);
  if (name === undefined) return;
  const file = join(home, name);
  throw new InputError("PARTIAL_CHANGED", `${file}: is not made by this tool, and would be deleted`, {
    file,
    help: "move it to where you want it, or delete it; then run again",
  });
}

/**
 * Ends what an earlier run could not: deletes what it replaced, and removes its folder where nothing in it can be continued.
 * What a running process holds is left to it. Throws EnvironmentError where the folder cannot be written.
 */
export function settleTarget(path: string): void {
  const target = resolve(path);
  const home = homeOf(target);
  if (entriesOf(home).length === 0 || foreignEntries(home).length > 0) return;
  writing(target, () => {
    if (readJournal(home).holder !== null) return;
    const claim = claimHome(home, target);
    recoverTarget(home, target);
    deleteGone(home);
    const isSpent = entriesOf(home).every((name) => name === JOURNAL_NAME || name === "out");
    if (isSpent && bytesBelow(outOf(home)) === 0) fs.rmSync(home, { recursive: true });
    else appendRelease(home, claim);
  });
}

function checkPlan(home: string, plan: string): void {
  const journal = readJournal(home);
  // Of a run that ended, only what it could not delete is left.
  if (journal.plan === null || journal.plan === plan || !fs.existsSync(outOf(home))) return;
  throw new InputError("PARTIAL_OF_ANOTHER_PLAN", `${home}: was left by a conversion of other sources or options`, {
    file: home,
    help: "run again as then to continue it, or without --resume to begin anew",
  });
}

type Progress = Staging["progress"];

function continued(staging: Omit<Staging, "progress">, plan: string): Progress {
  const { home, out, sizes } = staging;
  const journal = readJournal(home);
  if (journal.plan !== plan || !fs.existsSync(out)) return begun(staging, plan);
  refuseLink(out);
  keepPlanned(out, sizes);
  return journal.progress;
}

function begun({ home, out }: Omit<Staging, "progress">, plan: string): Progress {
  deleteGone(home);
  for (const name of entriesOf(home)) {
    if (name !== JOURNAL_NAME && !name.startsWith("gone-")) fs.rmSync(join(home, name), { recursive: true });
  }
  appendPlan(home, plan);
  fs.mkdirSync(out);
  return new Map();
}

/** What cannot be deleted is out of the way already. */
function deleteGone(home: string): void {
  for (const name of entriesOf(home).filter((each) => each.startsWith("gone-"))) {
    try {
      fs.rmSync(join(home, name), { recursive: true });
    } catch {
      // `clean` says what keeps it.
    }
  }
}

function refuseLink(out: string): void {
  if (fs.lstatSync(out).isDirectory()) return;
  throw new InputError("PARTIAL_CHANGED", `${out}: is no folder any more`, {
    file: out,
    help: "run again without --resume",
  });
}

/** `parent` may not exist yet: then its nearest ancestor counts. Throws EnvironmentError DISK_FULL. */
export function checkSpace(parent: string, totalBytes: number, alreadyThere: number): void {
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

export interface Committed {
  /** What stood at the target; null where nothing did. */
  readonly stood: Standing | null;
  /** Path of what could not be deleted of it. */
  readonly left: string | null;
}

/**
 * Gives the output its final name. What stands there now is looked at again, and deleted last; it is returned.
 * Throws InputError TARGET_EXISTS, TARGET_UNSAFE where it is nothing that may go; then it stays as it is.
 */
export function commitStaging(staging: Staging, output: string, fsync: boolean): Committed {
  const { home, out, sizes, target, check, claim, isTaken } = staging;
  return writing(target, () => {
    requirePlanned(out, sizes);
    const stood = checkTarget(target, check);
    if (stood !== null && !isTaken && !check.force) failExists(target, APPEARED);
    if (stood?.kind === "empty folder") fillEmpty(target, output);
    else if (stood === null || isFileForFile(target, output)) fs.renameSync(output, target);
    else replaceTarget(home, target, output, claim.run);
    if (fsync) syncFolder(dirname(target));
    const left = removeHome(home);
    if (left !== null) appendRelease(home, claim);
    return { stood, left };
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
  if (entriesOf(home).length > 0) appendRelease(home, claim);
}

/** Bytes of the output that are on disk and in the journal. */
export function durableBytes({ home }: Staging): number {
  return [...readJournal(home).progress.values()].reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Whether a former target is in the folder, whole, and cannot be put back where it was. */
export function holdsFormer({ home, target }: Staging): boolean {
  const isThere = () => entriesOf(home).some((name) => /^(?:old|swap)-/.test(name));
  if (!isThere()) return false;
  try {
    recoverTarget(home, target);
  } catch {
    return true;
  }
  return isThere();
}

/** Removes everything that was made for the target. */
export function discardStaging(staging: Pick<Staging, "home" | "target" | "createdParent">): void {
  const { home, target, createdParent } = staging;
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
