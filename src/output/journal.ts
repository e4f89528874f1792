// The journal of an unfinished output: who writes it, by which plan, and how far each file is on disk. Lines of JSON that
// are only ever appended, so that a killed process leaves at worst a cut last line, and the order of claims is one order.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { InputError } from "../base/errors.ts";

/** How far a file is: its first `bytes` are on disk, and `xxh64` is their digest in hex. */
export interface FileProgress {
  readonly bytes: number;
  readonly xxh64: string;
}

/** Digest of what a file is to hold, so that a later run knows whether it is the same file. */
export interface DatedProgress extends FileProgress {
  readonly of: string;
}

/** A replacement that was begun: the new output lies in the folder's entry `swap-<run>` and is then exchanged. */
export interface Swap {
  readonly run: string;
  /** Inode of the new output, which tells it from what stood at the target. */
  readonly inode: string;
  /** Name of the one file that it is; null where it is a folder. */
  readonly file: string | null;
}

export interface Journal {
  /** Digest of the plan that is being written; null before it is known. */
  readonly plan: string | null;
  /** By name of the file. */
  readonly progress: ReadonlyMap<string, DatedProgress>;
  readonly swaps: readonly Swap[];
  /** Name of the target that the folder stands beside; null where no run of ours claimed the folder. */
  readonly target: string | null;
  /** Process that holds the output, if it runs. */
  readonly holder: Claim | null;
}

export interface Claim {
  readonly run: string;
  readonly pid: number;
  /**
   * Start time of the process: it tells the process from a later one with the same number. Empty where the system does
   * not say.
   */
  readonly started: string;
}

export const JOURNAL_NAME = "journal";

/** A line for each 64 MB that are written takes about 300 bytes: this is far beyond a checkpoint of any size. */
const SIZE_LIMIT = 2 ** 28;

export const ownClaim = (): Claim => ({ run: randomUUID(), pid: process.pid, started: startOf(process.pid) });

/** @param target name of the target, which the folder's own name may hold in part only */
export const appendClaim = (home: string, claim: Claim, target: string): void => append(home, { claim, target });
export const appendRelease = (home: string, { run }: Claim): void => append(home, { release: run });
/** Voids all progress before it. */
export const appendPlan = (home: string, plan: string): void => append(home, { plan });
export const appendProgress = (home: string, file: string, progress: DatedProgress): void =>
  append(home, { file, ...progress });
/** On disk when it returns: without it a later run could not tell new from old. */
export function appendSwap(home: string, swap: Swap): void {
  append(home, { swap });
  const fd = fs.openSync(join(home, JOURNAL_NAME), "r+");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function append(home: string, line: object): void {
  // The newline goes first: after a line that was cut short, this one is still whole.
  fs.appendFileSync(join(home, JOURNAL_NAME), `\n${JSON.stringify(line)}`);
}

/** Reads what is there; lines that are not ours are passed over. Throws InputError PARTIAL_CHANGED for a huge one. */
export function readJournal(home: string): Journal {
  const claims = new Map<string, Claim>();
  const swaps: Swap[] = [];
  let progress = new Map<string, DatedProgress>();
  let plan: string | null = null;
  let target: string | null = null;
  for (const line of journalLines(join(home, JOURNAL_NAME))) {
    const claim = claimOf(line.claim);
    if (claim !== null) claims.set(claim.run, claim);
    if (claim !== null && typeof line.target === "string") target = line.target;
    if (typeof line.release === "string") claims.delete(line.release);
    if (typeof line.plan === "string") {
      plan = line.plan;
      progress = new Map();
    }
    const swap = swapOf(line.swap);
    if (swap !== null) swaps.push(swap);
    const { file, of } = line;
    const reached = progressOf(line);
    if (typeof file === "string" && typeof of === "string" && reached !== null) progress.set(file, { of, ...reached });
  }
  return { plan, progress, swaps, target, holder: [...claims.values()].find(isRunning) ?? null };
}

/** How far a line says that its file is. */
export const progressOf = ({ bytes, xxh64 }: JournalLine): FileProgress | null =>
  isSize(bytes) && isDigest(xxh64) ? { bytes, xxh64 } : null;

const isSize = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
const isDigest = (value: unknown): value is string => typeof value === "string" && /^[0-9a-f]{16}$/.test(value);

export type JournalLine = Readonly<Record<string, unknown>>;

/** Those that can be read. Throws InputError PARTIAL_CHANGED for what is no journal. */
export function journalLines(path: string): JournalLine[] {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return [];
  if (!stats.isFile() || stats.size > SIZE_LIMIT) {
    throw new InputError("PARTIAL_CHANGED", `${path}: is no journal that was written here`, {
      file: path,
      expected: `a regular file of at most ${SIZE_LIMIT} bytes`,
      found: stats.isFile() ? `${stats.size} bytes` : "no regular file",
      help: "look at the folder that holds it, and remove it yourself",
    });
  }
  return fs
    .readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        const value: unknown = JSON.parse(line);
        return typeof value === "object" && value !== null ? [{ ...value }] : [];
      } catch {
        return [];
      }
    });
}

/** A claim that a line holds. */
export function claimOf(value: unknown): Claim | null {
  if (typeof value !== "object" || value === null) return null;
  const { run, pid, started }: { run?: unknown; pid?: unknown; started?: unknown } = value;
  if (typeof run !== "string" || typeof pid !== "number" || typeof started !== "string") return null;
  // 0 and negative numbers mean groups of processes.
  return Number.isSafeInteger(pid) && pid > 0 ? { run, pid, started } : null;
}

/** The run names an entry of the folder: nothing that leads out of it. */
function swapOf(value: unknown): Swap | null {
  if (typeof value !== "object" || value === null) return null;
  const { run, inode, file }: { run?: unknown; inode?: unknown; file?: unknown } = value;
  if (typeof run !== "string" || !/^[0-9a-f-]+$/.test(run) || typeof inode !== "string") return null;
  if (file !== null && (typeof file !== "string" || file === ".." || /[\\/\0]/.test(file))) return null;
  return { run, inode, file };
}

/** Whether the process of a claim of this machine runs. */
export function isRunning({ pid, started }: Claim): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it runs, and belongs to someone else.
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) return false;
  }
  return startOf(pid) === started;
}

/** Start time of a process in clock ticks since boot, from /proc/<pid>/stat (proc(5), field 22). */
function startOf(pid: number): string {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command in brackets and may hold spaces.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
