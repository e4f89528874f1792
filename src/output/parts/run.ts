// One attempt to make a part, and its journal. Machines share no processes and no clock, and a node that was given up may still
// write: every attempt has a journal of its own, and all attempts write the same bytes to the same places, so that none has to be
// kept from it. Whose journal is gone was told to stop: the folder was removed.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { InputError } from "../../base/errors.ts";
import { isJsonObject } from "../../base/json.ts";
import { entryAt } from "../exchange.ts";
import { type Claim, claimOf, type FileProgress, isRunning, journalLines, ownClaim, progressOf } from "../journal.ts";
import { writing } from "../staging-errors.ts";
import { journalName, type PartNumber, runsOf } from "./place.ts";
import type { Range } from "./share.ts";

/** Where a process runs. */
export interface Host {
  readonly name: string;
  /** Of the start of the machine, and of the space that its process numbers are of; empty where the system does not say. */
  readonly boot: string;
  readonly space: string;
}

export const thisHost = (): Host => ({
  name: hostname(),
  boot: textOf(() => fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
  space: textOf(() => fs.readlinkSync("/proc/self/ns/pid")),
});

function textOf(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}

const isHere = ({ name, boot, space }: Host): boolean => {
  const here = thisHost();
  return name === here.name && boot === here.boot && space === here.space;
};

/** A running attempt says so this often. */
const BEAT_MS = 20_000;
/** One of another machine that said nothing for so long has come to an end, or will find its part done by another. */
const SILENT_MS = 120_000;

export class PartRun {
  readonly run: string;
  /** Name of the machine. */
  readonly host = hostname();
  readonly #path: string;
  #beatAt = performance.now();

  private constructor(path: string, run: string) {
    this.#path = path;
    this.run = run;
  }

  /** Throws EnvironmentError where the folder cannot be written. */
  static begin(home: string, plan: string, part: PartNumber): PartRun {
    const claim = ownClaim();
    const { run } = claim;
    const path = join(home, journalName(plan, part, run));
    writing(path, () => fs.writeFileSync(path, "", { flag: "wx" }));
    const begun = new PartRun(path, run);
    begun.#append({ claim, host: thisHost() });
    return begun;
  }

  /** How far a range is on disk. */
  progress(range: Range, progress: FileProgress): void {
    this.#append({ range: [range.file, range.begin, range.end], ...progress });
  }

  /** Says that the attempt goes on, where it has said nothing for a while. Throws InputError PARTS_REMOVED. */
  beat(): void {
    if (performance.now() - this.#beatAt > BEAT_MS) this.#append({ beat: new Date().toISOString() });
  }

  /** What ended it. */
  failed(message: string): void {
    try {
      this.#append({ failed: message });
    } catch {
      // The reason that it failed may be that the journal cannot be written.
    }
  }

  /** Throws InputError PARTS_REMOVED where the folder is no longer that of this attempt. */
  check(): void {
    if (entryAt(this.#path) === null) throw removed(this.#path);
  }

  remove(): void {
    fs.rmSync(this.#path, { force: true });
  }

  #append(line: object): void {
    this.#beatAt = performance.now();
    writing(this.#path, () => {
      let fd: number;
      try {
        // Not created anew: it was there.
        fd = fs.openSync(this.#path, fs.constants.O_WRONLY | fs.constants.O_APPEND);
      } catch (error) {
        throw entryAt(this.#path) === null ? removed(this.#path) : error;
      }
      try {
        // The newline goes first: after a line that was cut short, this one is still whole.
        fs.writeSync(fd, `\n${JSON.stringify(line)}`);
      } finally {
        fs.closeSync(fd);
      }
    });
  }
}

const removed = (path: string): InputError =>
  new InputError("PARTS_REMOVED", `${path}: was removed while this part was being written`, {
    file: path,
    expected: "the folder that the parts are made in",
    found: "no such file",
    help: "run the part again, unless the target is complete",
  });

/** What an attempt left. */
export interface Attempt {
  readonly run: string;
  readonly host: Host;
  readonly process: number;
  /** By `rangeId`. */
  readonly progress: ReadonlyMap<string, FileProgress>;
  /** What ended it, in words; null where nobody knows. */
  readonly failed: string | null;
  /** Null where it runs on another machine, of which only its silence tells. */
  readonly isRunning: boolean | null;
  readonly silentMs: number;
}

export const rangeId = ({ file, begin, end }: Range): string => JSON.stringify([file, begin, end]);

/** Attempts to make a part, those that last gave a sign last. @param now of the file system's clock */
export function attemptsAt(home: string, plan: string, part: PartNumber, now: number): Attempt[] {
  return runsOf(home, plan, part)
    .flatMap((run) => attemptOf(join(home, journalName(plan, part, run)), run, now) ?? [])
    .toSorted((a, b) => b.silentMs - a.silentMs);
}

function attemptOf(path: string, run: string, now: number): Attempt | null {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return null;
  const progress = new Map<string, FileProgress>();
  let host: Host = NOWHERE;
  let claim: Claim | null = null;
  let failed: string | null = null;
  for (const line of journalLines(path)) {
    host = hostOf(line.host) ?? host;
    claim = claimOf(line.claim) ?? claim;
    const reached = progressOf(line);
    if (reached !== null && Array.isArray(line.range)) progress.set(JSON.stringify(line.range), reached);
    if (typeof line.failed === "string") failed = line.failed;
  }
  const hasEnded = failed !== null || claim === null;
  return {
    run,
    host,
    process: claim?.pid ?? 0,
    progress,
    failed,
    isRunning: hasEnded ? false : isHere(host) ? isRunning(claim!) : null,
    silentMs: Math.max(0, now - stats.mtimeMs),
  };
}

const NOWHERE: Host = { name: "", boot: "", space: "" };

export function hostOf(value: unknown): Host | null {
  if (!isJsonObject(value)) return null;
  const { name, boot, space } = value;
  const isHost = typeof name === "string" && typeof boot === "string" && typeof space === "string";
  return isHost ? { name, boot, space } : null;
}

/** Whether an attempt may still be writing. */
export const mayRun = ({ isRunning: runs, silentMs }: Attempt): boolean => runs ?? silentMs < SILENT_MS;

/** Now, by the clock of the file system that holds a folder. */
export function clockOf(home: string): number {
  const path = join(home, `${randomUUID()}.tmp`);
  return writing(home, () => {
    fs.writeFileSync(path, "", { flag: "wx" });
    try {
      return fs.lstatSync(path).mtimeMs;
    } finally {
      fs.rmSync(path, { force: true });
    }
  });
}
