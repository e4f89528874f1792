// The journal of an unfinished output: who writes it, by which plan, and how far each file is on disk. Lines of JSON that
// are only ever appended, so that a killed process leaves at worst a cut last line, and the order of claims is one order.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";

/** How far a file is: its first `bytes` are on disk, and hash to `state` (xxh64 state in hex, not a digest). */
export interface FileProgress {
  readonly bytes: number;
  readonly state: string;
}

export interface Journal {
  /** Digest of the plan that is being written; null before it is known. */
  readonly plan: string | null;
  /** By index of the file in the plan. */
  readonly progress: ReadonlyMap<number, FileProgress>;
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

const NAME = "journal";

export const ownClaim = (): Claim => ({ run: randomUUID(), pid: process.pid, started: startOf(process.pid) });

export const appendClaim = (home: string, claim: Claim): void => append(home, { claim });
export const appendRelease = (home: string, { run }: Claim): void => append(home, { release: run });
/** Voids all progress before it. */
export const appendPlan = (home: string, plan: string): void => append(home, { plan });
export const appendProgress = (home: string, file: number, progress: FileProgress): void =>
  append(home, { file, ...progress });

function append(home: string, line: object): void {
  // The newline goes first: after a line that was cut short, this one is still whole.
  fs.appendFileSync(join(home, NAME), `\n${JSON.stringify(line)}`);
}

/** Reads what is there; lines that are not ours are passed over. */
export function readJournal(home: string): Journal {
  const claims = new Map<string, Claim>();
  let progress = new Map<number, FileProgress>();
  let plan: string | null = null;
  for (const line of linesOf(join(home, NAME))) {
    const claim = claimOf(line.claim);
    if (claim !== null) claims.set(claim.run, claim);
    if (typeof line.release === "string") claims.delete(line.release);
    if (typeof line.plan === "string") {
      plan = line.plan;
      progress = new Map();
    }
    const { file, bytes, state } = line;
    if (typeof file === "number" && typeof bytes === "number" && typeof state === "string") {
      progress.set(file, { bytes, state });
    }
  }
  return { plan, progress, holder: [...claims.values()].find(isRunning) ?? null };
}

function linesOf(path: string): Readonly<Record<string, unknown>>[] {
  let text = "";
  try {
    text = fs.readFileSync(path, "utf8");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  return text.split("\n").flatMap((line) => {
    try {
      const value: unknown = JSON.parse(line);
      return typeof value === "object" && value !== null ? [{ ...value }] : [];
    } catch {
      return [];
    }
  });
}

function claimOf(value: unknown): Claim | null {
  if (typeof value !== "object" || value === null) return null;
  const { run, pid, started }: { run?: unknown; pid?: unknown; started?: unknown } = value;
  if (typeof run !== "string" || typeof pid !== "number" || typeof started !== "string") return null;
  return { run, pid, started };
}

function isRunning({ pid, started }: Claim): boolean {
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
