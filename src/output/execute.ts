// Executes planned files: everything is written beside the target and takes its name at the end, or leaves no trace.
import { createHash } from "node:crypto";
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { InputError } from "../base/errors.ts";
import { lengthOf, type OutputFile } from "../formats/output.ts";
import { EMPTY_HASH, type Hashes } from "../views/identity/hash-thread.ts";
import { appendProgress, type DatedProgress } from "./journal.ts";
import {
  type Committed,
  commitStaging,
  discardStaging,
  durableBytes,
  holdsFormer,
  openStaging,
  releaseStaging,
  type Staging,
  syncFolder,
} from "./staging.ts";
import { writing } from "./staging-errors.ts";
import type { Crew } from "./write/ahead.ts";
import { makeReady } from "./write/bytes.ts";
import { type Produce, STEP_BYTES, writeOutputFile } from "./write/file.ts";
import type { Writer } from "./write/writer.ts";

export interface WrittenFile {
  readonly name: string;
  readonly bytes: number;
  readonly xxh64: string;
  /** Where it was asked for. */
  readonly sha256?: string;
}

export interface ExecuteProgress {
  readonly bytes: number;
  readonly totalBytes: number;
  readonly file: string;
}

/** What a run that failed leaves to be continued. */
export interface Kept {
  /** The hidden folder that holds it. */
  readonly path: string;
  /** That need not be written again. */
  readonly bytes: number;
}

interface ExecuteOptions {
  readonly files: readonly OutputFile[];
  readonly produce: Produce;
  /**
   * What the bytes depend on beside the plan: sources with size and time, options. A run resumes only its own kind. Files
   * with a `copyOf` do not depend on it.
   */
  readonly identity?: string;
  /** Makes the output durable before it gets its name; default true. */
  readonly fsync?: boolean;
  /** Continues what a killed run left, and leaves its own work to be continued whatever stops it. */
  readonly resume?: boolean;
  /** Replaces a target that is a checkpoint, at the end and at once. */
  readonly force?: boolean;
  /** All paths that are read: no target is, holds or, of a folder, stands in one of them. */
  readonly reads?: readonly string[];
  /** Told what stood at the target, once it is replaced. */
  readonly onReplaced?: (replaced: Committed) => void;
  /** Called when all is written and before a name appears; what it throws undoes the output. */
  readonly verify?: () => void | Promise<void>;
  /** Whether what is written when this is thrown can be continued; by default with `resume`, and when `signal` stops it. */
  readonly isUseful?: (error: unknown) => boolean | undefined;
  /** Told what is kept, before the error that stopped the run is thrown. */
  readonly onKept?: (kept: Kept) => void;
  /** Others that write the tensors, in place of `produce`: the output is the same. */
  readonly crew?: Crew | undefined;
  /** Who brings bytes into the files; this thread unless given. */
  readonly writer?: Writer | undefined;
  /** Takes the bytes of each file, by its index: then what was written has SHA-256. */
  readonly hashes?: Hashes | undefined;
  /** Bytes between two points that a run can be continued from; a multiple of 8. */
  readonly stepBytes?: number;
  readonly onProgress?: (progress: ExecuteProgress) => void;
  /** Stops the run at the next step; what it wrote is kept. */
  readonly signal?: AbortSignal;
}

export type ExecuteJob = ExecuteOptions & ({ readonly targetDir: string } | { readonly targetFile: string });

/**
 * Writes `files` into the new directory `targetDir`, or the only one to `targetFile`.
 * Throws InputError (TARGET_EXISTS, TARGET_UNSAFE, TARGET_BUSY, PARTIAL_…, OUTPUT_NAME_…), EnvironmentError (DISK_FULL,
 * PERMISSION_DENIED, …) and what `produce` throws; then nothing is left behind but what `resume` can use.
 */
export async function executeOutput(job: ExecuteJob): Promise<WrittenFile[]> {
  const { files, resume = false, force = false, reads = [], identity = "" } = job;
  const single = "targetFile" in job;
  const target = single ? job.targetFile : job.targetDir;
  checkFiles(files, single);
  const totalBytes = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const plan = planDigest(files, identity);
  const sizes = new Map(files.map(({ name, byteLength }) => [name, byteLength]));
  const staging = openStaging({ target, plan, sizes, totalBytes, resume, check: { force, reads, writes: files } });
  try {
    const written = await writeFiles(job, staging, totalBytes);
    await job.verify?.();
    job.signal?.throwIfAborted();
    const name = files[0]?.name ?? "";
    const committed = commitStaging(staging, single ? join(staging.out, name) : staging.out, job.fsync ?? true);
    if (committed.stood !== null) job.onReplaced?.(committed);
    return written;
  } catch (error) {
    // What is left is nobody's to write to any more.
    await job.crew?.stop();
    leave(job, staging, error);
    throw error;
  }
}

/** Keeps what a later run can use, and removes the rest. */
function leave(job: ExecuteJob, staging: Staging, error: unknown): void {
  const bytes = durableBytes(staging);
  const isUseful = job.isUseful?.(error) ?? (job.resume === true || job.signal?.aborted === true);
  if ((isUseful && bytes > 0) || holdsFormer(staging)) {
    releaseStaging(staging);
    job.onKept?.({ path: staging.home, bytes });
  } else discardStaging(staging);
}

async function writeFiles(job: ExecuteJob, staging: Staging, totalBytes: number): Promise<WrittenFile[]> {
  const { files, produce, fsync = true, stepBytes = STEP_BYTES, hashes, onProgress, signal, crew, writer } = job;
  const written: WrittenFile[] = [];
  let before = 0;
  const drafts = files.map((file) => draftOf(file, staging));
  if (crew !== undefined) {
    for (const draft of drafts) {
      prepare(draft);
      makeReady(draft.path, draft.file, draft.done);
    }
    crew.start(
      staging.out,
      drafts.map(({ done }) => done?.bytes ?? 0),
    );
  }
  for (const [index, draft] of drafts.entries()) {
    const { file, path, of, done } = draft;
    const { name, byteLength } = file;
    const start = before;
    signal?.throwIfAborted();
    if (crew === undefined) prepare(draft);
    const { xxh64 } = await writeOutputFile({
      path,
      file,
      produce,
      writer,
      fsync,
      stepBytes,
      done,
      signal,
      ahead: crew && ((end) => crew.written(index, end)),
      onBytes: hashes && ((bytes) => hashes.update(index, bytes)),
      onProgress: (bytes) => onProgress?.({ bytes: start + bytes, totalBytes, file: name }),
      onDurable: (progress) => writing(path, () => appendProgress(staging.home, name, { of, ...progress })),
    });
    before += byteLength;
    written.push({ name, bytes: byteLength, xxh64 });
  }
  if (fsync) {
    for (const folder of new Set([staging.out, ...files.map(({ name }) => dirname(join(staging.out, name)))])) {
      writing(folder, () => syncFolder(folder));
    }
  }
  const sums = await hashes?.digests();
  return sums === undefined ? written : written.map((file, i) => ({ ...file, sha256: sums.get(i) ?? EMPTY_HASH }));
}

/** A file as it will be, and what is kept of it. */
interface Draft {
  readonly file: OutputFile;
  readonly path: string;
  readonly of: string;
  readonly done: DatedProgress | undefined;
}

function draftOf(file: OutputFile, { out, progress }: Staging): Draft {
  const path = join(out, file.name);
  const of = fileDigest(file);
  const known = progress.get(file.name);
  return { file, path, of, done: known?.of === of && fs.existsSync(path) ? known : undefined };
}

/** Makes way for a file that is begun anew. */
function prepare({ path, done }: Draft): void {
  writing(path, () => {
    fs.mkdirSync(dirname(path), { recursive: true });
    if (done === undefined) fs.rmSync(path, { force: true });
  });
}

/** Names may come from a record, so from someone else's disk. */
function checkFiles(files: readonly OutputFile[], single: boolean): void {
  const names = new Set<string>();
  for (const { name, byteLength, parts } of files) {
    const steps = name.split("/");
    const unsafe = /[\\\0]|^[a-z]:/i.test(name) || steps.some((step) => step === "" || step === "." || step === "..");
    if (unsafe || (single && name !== basename(name))) {
      throw new InputError("OUTPUT_NAME_UNSAFE", `${JSON.stringify(name)}: not a name within the target`, {
        file: name,
        help: "the record or index that names this file is damaged: convert without it",
      });
    }
    if (names.has(name)) {
      throw new InputError("OUTPUT_NAME_TWICE", `${name}: would be written twice`, {
        file: name,
        help: "the record or index that names this file is damaged: convert without it",
      });
    }
    names.add(name);
    const length = parts.reduce((sum, part) => sum + lengthOf(part), 0);
    if (length !== byteLength) throw new Error(`${name}: planned with ${byteLength} bytes, its parts have ${length}`);
  }
  if (single && files.length !== 1) throw new Error(`${files.length} files for a target that is one file`);
}

/** Of the files that depend on all that is read; the others are told apart by their own digests. */
export function planDigest(files: readonly OutputFile[], identity: string): string {
  const hash = createHash("sha256").update(JSON.stringify(identity));
  for (const file of files) if (file.copyOf === undefined) hash.update(fileDigest(file));
  return hash.digest("hex");
}

function fileDigest({ name, byteLength, parts, copyOf }: OutputFile): string {
  const hash = createHash("sha256").update(JSON.stringify([name, byteLength, parts.length, copyOf ?? null]));
  for (const part of parts) {
    if (part.kind === "bytes") hash.update(JSON.stringify(part.bytes.length)).update(part.bytes);
    else if (part.kind === "tensor") hash.update(JSON.stringify([part.key, part.begin, part.end]));
    else hash.update(JSON.stringify([part.byteLength]));
  }
  return hash.digest("hex");
}
