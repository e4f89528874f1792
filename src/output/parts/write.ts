// Writes one part of an output into the folder that all parts share, and at last the document that says so.
import fs from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { InputError } from "../../base/errors.ts";
import type { OutputFile } from "../../formats/output.ts";
import { entryAt } from "../exchange.ts";
import { entriesOf } from "../home.ts";
import type { FileProgress } from "../journal.ts";
import { checkSpace, syncFolder } from "../staging.ts";
import { makeFolders, writing } from "../staging-errors.ts";
import { type Produce, STEP_BYTES, writeOutputFile } from "../write/file.ts";
import type { Writer } from "../write/writer.ts";
import { refuseOthers } from "./difference.ts";
import {
  type Outline,
  type PartDocument,
  type PlanDocument,
  readPart,
  type WrittenRange,
  writeOutline,
  writePart,
  writePlan,
} from "./documents.ts";
import { foreignParts, makeHome, outName, type PartNumber, partsHomeOf, removePartsHome } from "./place.ts";
import { type Attempt, PartRun, rangeId } from "./run.ts";
import type { Range } from "./share.ts";
import { surveyParts } from "./survey.ts";

export interface PartJob {
  /** Path that the output gets at the end. */
  readonly target: string;
  readonly document: PlanDocument;
  readonly outline: Outline;
  readonly files: readonly OutputFile[];
  readonly part: PartNumber;
  /** What earlier attempts left; none where it is to be made anew. */
  readonly attempts: readonly Attempt[];
  readonly produce: Produce;
  readonly writer?: Writer | undefined;
  readonly fsync: boolean;
  /** As of `executeOutput`. */
  readonly stepBytes?: number;
  /** Called when all is written; gives what the document tells beside. What it throws ends the part. */
  readonly finish: (written: PartWritten) => Promise<unknown>;
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface PartWritten {
  readonly bytes: number;
  /** Whether an earlier attempt wrote some of it. */
  readonly isContinued: boolean;
  /** To be called now and then while it takes long. */
  readonly beat: () => void;
}

/** What is there of a part before it is made. */
export interface PartBefore {
  /** Set where it is done. */
  readonly done: PartDocument | null;
  readonly attempts: readonly Attempt[];
}

/**
 * Looks at what is there of a part, and touches nothing.
 * Throws InputError PARTS_OF_ANOTHER_PLAN, PARTS_DAMAGED, and TARGET_BUSY where a process of this machine makes it.
 */
export function partBefore(target: string, document: PlanDocument, part: PartNumber): PartBefore {
  const home = partsHomeOf(resolve(target));
  if (entriesOf(home).length === 0) return { done: null, attempts: [] };
  refuseForeign(home);
  const plans = surveyParts(home);
  refuseOthers(target, document, plans);
  const own = plans.find(({ plan }) => plan === document.plan)?.parts[part.number - 1];
  if (own?.state === "done") return { done: readPart(home, document.plan, part), attempts: [] };
  const attempts = own?.attempts ?? [];
  const running = attempts.find((attempt) => attempt.isRunning === true);
  if (running === undefined) return { done: null, attempts };
  throw new InputError(
    "TARGET_BUSY",
    `${target}: process ${running.process} is writing part ${part.number} of ${part.of}`,
    {
      file: target,
      found: `process ${running.process}`,
      help: "wait until it is done, or stop it",
    },
  );
}

/** All in the folder is deleted sooner or later, so all must be ours. */
function refuseForeign(home: string): void {
  const [name] = foreignParts(home);
  if (name === undefined) return;
  const file = join(home, name);
  throw new InputError("PARTIAL_CHANGED", `${file}: is not made by this tool, and would be deleted`, {
    file,
    help: "move it to where you want it, or delete it; then run again",
  });
}

/**
 * Throws what `produce` and `finish` throw, InputError PARTS_REMOVED, PARTIAL_CHANGED, and EnvironmentError. What was written until
 * then can be continued.
 */
export async function writePartOutput(job: PartJob): Promise<PartDocument> {
  const { document, part } = job;
  const target = resolve(job.target);
  const home = partsHomeOf(target);
  const ranges = job.outline.shares[part.number - 1] ?? [];
  const totalBytes = ranges.reduce((sum, { begin, end }) => sum + end - begin, 0);
  writing(target, () => makeFolders(dirname(target)));
  checkSpace(dirname(target), totalBytes, 0);
  const run = begun(home, document, part);
  let hasProgress = false;
  try {
    writePlan(home, document);
    writeOutline(home, job.outline);
    const out = join(home, outName(document.plan));
    prepare(out, job.files, ranges);
    const written: WrittenRange[] = [];
    const sums: PartDocument["sums"][number][] = [];
    const asked = new Set(job.outline.left.sums.map(({ file, sum }) => `${sum} ${file}`));
    let before = 0;
    let isContinued = false;
    for (const range of ranges) {
      const start = before;
      const done = furthest(job.attempts, range);
      isContinued ||= done !== undefined;
      const result = await writeRange(job, out, range, done, {
        onProgress: (bytes) => {
          run.beat();
          job.onProgress?.(start + bytes, totalBytes);
        },
        onDurable: (progress) => {
          hasProgress = true;
          run.progress(range, progress);
        },
      });
      written.push({ ...range, xxh64: result.xxh64, left: result.left });
      for (const { sum, begin, end, crc32 } of result.sums)
        if (asked.has(`${sum} ${range.file}`)) sums.push([range.file, sum, begin, end, crc32]);
      before += range.end - range.begin;
    }
    if (job.fsync)
      for (const folder of new Set([home, out, ...ranges.map(({ file }) => dirname(join(out, file)))]))
        syncFolder(folder);
    const about = await job.finish({ bytes: totalBytes, isContinued, beat: () => run.beat() });
    job.signal?.throwIfAborted();
    run.check();
    const made: PartDocument = {
      plan: document.plan,
      ...part,
      run: run.run,
      host: run.host,
      ranges: written,
      sums,
      about,
    };
    writePart(home, made);
    run.remove();
    return made;
  } catch (error) {
    leave(home, run, hasProgress ? reasonOf(error, job.signal) : null);
    throw error;
  }
}

/** Again where a part that failed has just removed the folder. */
function begun(home: string, { plan }: PlanDocument, part: PartNumber): PartRun {
  makeHome(home);
  try {
    return PartRun.begin(home, plan, part);
  } catch (error) {
    if (entryAt(home) !== null) throw error;
    makeHome(home);
    return PartRun.begin(home, plan, part);
  }
}

function reasonOf(error: unknown, signal: AbortSignal | undefined): string {
  if (signal?.aborted === true) return "it was stopped";
  return error instanceof Error ? error.message : String(error);
}

/** Says what ended the attempt; one that wrote nothing leaves no trace. */
function leave(home: string, run: PartRun, reason: string | null): void {
  if (reason !== null) {
    run.failed(reason);
    return;
  }
  run.remove();
  const isUsed = (folder: string) => entriesOf(folder).some((name) => name.startsWith("part-"));
  if (isUsed(home)) return;
  // Under another name first: whoever begins a part meanwhile finds that its journal is gone.
  const gone = join(dirname(home), `.${run.run}${basename(home)}`);
  fs.renameSync(home, gone);
  if (isUsed(gone) && entryAt(home) === null) fs.renameSync(gone, home);
  else removePartsHome(gone);
}

const furthest = (attempts: readonly Attempt[], range: Range): FileProgress | undefined =>
  attempts
    .flatMap(({ progress }) => progress.get(rangeId(range)) ?? [])
    .reduce<FileProgress | undefined>((most, each) => (each.bytes > (most?.bytes ?? 0) ? each : most), undefined);

type Told = { readonly onProgress: (bytes: number) => void; readonly onDurable: (progress: FileProgress) => void };

const writeRange = (job: PartJob, out: string, range: Range, done: FileProgress | undefined, told: Told) =>
  writeOutputFile({
    path: join(out, range.file),
    file: job.files.find(({ name }) => name === range.file)!,
    range: [range.begin, range.end],
    produce: job.produce,
    writer: job.writer,
    fsync: job.fsync,
    stepBytes: job.stepBytes ?? STEP_BYTES,
    done,
    signal: job.signal,
    ...told,
  });

/** Files in their full length, whoever comes first. Nothing is ever cut: others write to them at the same time. */
function prepare(out: string, files: readonly OutputFile[], ranges: readonly Range[]): void {
  const sizes = new Map(files.map(({ name, byteLength }) => [name, byteLength]));
  for (const { file } of ranges) {
    const path = join(out, file);
    writing(path, () => {
      fs.mkdirSync(dirname(path), { recursive: true });
      const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT);
      try {
        if (fs.fstatSync(fd).size < sizes.get(file)!) fs.ftruncateSync(fd, sizes.get(file));
      } finally {
        fs.closeSync(fd);
      }
    });
  }
}
