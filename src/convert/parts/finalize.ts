// Joins the parts of a conversion from what lies beside the target alone: neither the source nor the plan is needed.
import { resolve } from "node:path";
import { elementCount } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonFault } from "../../base/json.ts";
import type { StepOptions } from "../../base/steps.ts";
import { witness } from "../../base/witness.ts";
import type { RecordSeal } from "../../model/record.ts";
import { entryAt } from "../../output/exchange.ts";
import { anotherPlan } from "../../output/parts/difference.ts";
import { type Outline, type PartDocument, readOutline, readPart } from "../../output/parts/documents.ts";
import { type JoinedFile, joinParts } from "../../output/parts/join.ts";
import { type PartNumber, partsHomeOf } from "../../output/parts/place.ts";
import { numbersText, type PlanState, surveyParts, unfinishedText } from "../../output/parts/survey.ts";
import { replacedNotes } from "../../output/replaced.ts";
import { settleTarget } from "../../output/staging.ts";
import { type CastStats, newCastStats } from "../../views/cast.ts";
import { EMPTY_HASH, hashesFor } from "../../views/identity/hash-thread.ts";
import { rootOf } from "../../views/identity/merkle.ts";
import { refuseVanished } from "../bytes/casts.ts";
import type { CastReport, Conversion } from "../convert.ts";
import { type OutlineAbout, outlineAboutOf, type PartAbout, partAboutOf, type Report } from "./about.ts";
import { joinedMerge } from "./merged.ts";
import type { Leaf, SealOutline } from "./seal-share.ts";

export interface FinalizeOptions extends StepOptions {
  /** Replaces a target that is a checkpoint. */
  readonly force?: boolean;
  /** Makes the output durable before it gets its name; true unless given. */
  readonly fsync?: boolean;
  /** Reads all bytes again, whatever their number. */
  readonly verify?: boolean;
  /** Whether files get SHA-256, where all is read again. */
  readonly sha256?: boolean;
}

/** The JSON document of `finalize`. */
export interface JoinedConversion extends Omit<Conversion, "files"> {
  readonly files: readonly JoinedFile[];
  /** Digest of the plan that all parts are of. */
  readonly plan: string;
  readonly parts: readonly (PartNumber &
    Pick<PartAbout, "bytes" | "seconds" | "peakRamBytes"> & { readonly host: string })[];
  /** Whether all bytes were read again and compared with what the parts say that they wrote. */
  readonly readAgain: boolean;
}

/** Up to here reading takes seconds. Above, the journals of the parts are believed unless it is asked for. */
const READ_BYTES = 8e9;

/** What is there for a target; null where there are no parts. Throws InputError PARTS_DAMAGED. */
export function partsAt(target: string): readonly PlanState[] | null {
  const plans = surveyParts(partsHomeOf(resolve(target)));
  return plans.length === 0 ? null : plans;
}

/**
 * Throws InputError PARTS_NONE, PARTS_MISSING, PARTS_OF_ANOTHER_PLAN, PARTS_CHANGED, PARTS_DAMAGED, CAST_UNDERFLOW and as `convert`.
 * Parts stay as they are then, so that it can be called again.
 */
export async function finalize(target: string, options: FinalizeOptions = {}): Promise<JoinedConversion> {
  const begin = performance.now();
  const { force = false, fsync = true } = options;
  settleTarget(target);
  const home = partsHomeOf(resolve(target));
  const { plan, others } = wholePlan(target);
  const { outline, parts, about, abouts } = read(home, plan);
  const check = { force, reads: outline.reads };
  const casts = castReports(about.report, abouts);
  const seal = about.seal && sealOf(about.seal, abouts);
  const made = new Map(about.record === null ? [] : [[about.record.name, recordBytes(about.record.text, seal)]]);
  const totalBytes = outline.files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const reads = options.verify === true || totalBytes <= READ_BYTES;
  const hashes = options.sha256 === true && reads ? hashesFor(totalBytes) : undefined;
  const { files, committed } = await joinParts({
    target,
    home,
    outline,
    parts,
    made,
    reads,
    hashes,
    check,
    fsync,
    onProgress: ({ bytes }) => options.onProgress?.({ label: "reading", done: bytes, total: totalBytes }),
    signal: options.signal,
  }).finally(() => hashes?.close());
  const { report } = about;
  if (report.config !== null) {
    const { name, text, mathematics } = report.config;
    witness()?.config(target, { path: `${target}/${name}`, text }, () => mathematics);
  }
  const { encoding, config: _, merged, ...rest } = report;
  return {
    verdict: "pass",
    ...rest,
    to: { ...report.to, path: target },
    casts,
    ...(merged === null ? {} : { merged: joinedMerge(merged, abouts) }),
    seal,
    peakRamBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - begin) / 1e3,
    files,
    notChecked: abouts.find(({ notChecked }) => notChecked !== null)?.notChecked ?? null,
    durable: fsync && abouts.every(({ durable }) => durable),
    notes: [...report.notes, ...encodingNotes(encoding, abouts), ...othersNotes(others), ...replacedNotes(committed)],
    plan: outline.plan,
    parts: parts.map(({ number, of, host }, i) => {
      const { bytes, seconds, peakRamBytes } = abouts[i]!;
      return { number, of, host, bytes, seconds, peakRamBytes };
    }),
    readAgain: reads,
  };
}

/** The plan of which all parts are done, and others of which there is something. */
function wholePlan(target: string): { readonly plan: PlanState; readonly others: readonly PlanState[] } {
  const plans = partsAt(target);
  if (plans === null) throw none(target);
  const begun = plans.filter(({ parts }) => parts.some(({ state }) => state !== "missing"));
  const [first, second] = begun.toSorted((a, b) => done(b) / b.of - done(a) / a.of);
  if (first !== undefined && done(first) === first.of && (second === undefined || done(second) < second.of))
    return { plan: first, others: begun.filter((each) => each !== first) };
  if (first !== undefined && second !== undefined) throw anotherPlan(target, second, first);
  throw missing(target, first ?? plans[0]!);
}

const done = ({ parts }: PlanState): number => parts.filter(({ state }) => state === "done").length;

/** Of a target that stands already, too: a scheduler may have called twice. */
const none = (target: string): InputError =>
  new InputError("PARTS_NONE", `${target}: no part of it is there`, {
    file: target,
    expected: "parts that `convert --part i/n` made",
    found: entryAt(resolve(target)) === null ? "none" : "none, and something that stands at the target",
    help:
      entryAt(resolve(target)) !== null
        ? `if that is the target, joined before, nothing is left to do: \`validate ${target}\` looks at it`
        : "make them first: convert <source> <target> --part 1/n to --part n/n, on any machine that sees the target's folder",
  });

function missing(target: string, plan: PlanState): InputError {
  const { parts, of } = plan;
  const left = parts.filter(({ state }) => state !== "done");
  const word = left.length === 1 ? "part" : "parts";
  return new InputError("PARTS_MISSING", `${target}: ${left.length} of ${of} parts are missing`, {
    file: target,
    expected: `${of} parts`,
    found: `${done(plan)}; ${unfinishedText(parts)}`,
    help: `run ${word} ${numbersText(left)} of ${of}, with --resume where one was stopped, then finalize again`,
  });
}

interface Read {
  readonly outline: Outline;
  readonly parts: readonly PartDocument[];
  readonly about: OutlineAbout;
  /** Of each part. */
  readonly abouts: readonly PartAbout[];
}

function read(home: string, { plan, parts }: PlanState): Read {
  const outline = readOutline(home, plan) ?? fail(home, "the outline of its parts is not there");
  const documents = parts.map(
    (part) => readPart(home, plan, part) ?? fail(home, `part ${part.number} is no longer there`),
  );
  const damaged = ({ place, expected }: JsonFault) => damage(home, `${place} is no ${expected}`);
  return {
    outline,
    parts: documents,
    about: outlineAboutOf(outline, damaged),
    abouts: documents.map((document) => partAboutOf(document, damaged)),
  };
}

const damage = (home: string, problem: string): InputError =>
  new InputError("PARTS_DAMAGED", `${home}: ${problem}`, {
    file: home,
    help: "it is no longer what the parts wrote: run them again",
  });

function fail(home: string, problem: string): never {
  throw damage(home, problem);
}

/** What casts did, summed up over parts. Throws InputError CAST_UNDERFLOW. */
function castReports({ casts }: Report, abouts: readonly PartAbout[]): CastReport[] {
  const all = new Map<string, CastStats>();
  for (const { key, ...stats } of abouts.flatMap((about) => about.casts)) {
    const sum = all.get(key) ?? newCastStats();
    all.set(key, sum);
    sum.elements += stats.elements;
    sum.overflows += stats.overflows;
    sum.vanished += stats.vanished;
    sum.maxRelativeError = Math.max(sum.maxRelativeError, stats.maxRelativeError);
    sum.remains ||= stats.remains;
  }
  // A part that was continued did not see what was written before.
  const isContinued = abouts.some((about) => about.isContinued);
  return casts.map(({ elements, ...cast }) => {
    const stats = all.get(cast.key);
    if (stats !== undefined) refuseVanished(cast.key, stats, elements);
    const isKnown = stats !== undefined && stats.elements >= elements && !isContinued;
    return {
      ...cast,
      maxRelativeError: isKnown ? stats.maxRelativeError : null,
      vanished: isKnown ? stats.vanished : null,
    };
  });
}

function sealOf({ config, dtypes, target, rounded }: SealOutline, abouts: readonly PartAbout[]): Conversion["seal"] {
  const hashes = new Map(abouts.flatMap((about) => about.hashes));
  const root = (leaves: readonly Leaf[], first: number) =>
    rootOf(leaves.map((leaf, i) => ({ ...leaf, sha256: hashOf(leaf, hashes.get(first + i)) })));
  const roundingOf = rounded && { root: root(rounded, target.length), dtypes };
  return { root: root(target, 0), config, roundingOf };
}

function hashOf({ name, shape }: Leaf, sha256: string | undefined): string {
  if (sha256 !== undefined) return sha256;
  if (elementCount(shape) === 0) return EMPTY_HASH;
  throw new Error(`"${name}": no part hashed it`);
}

/** The record as one run writes it. Its seal has a fixed length. */
function recordBytes(text: string, seal: Conversion["seal"]): Uint8Array {
  if (seal === null || seal.config === null) throw new Error("a record without what the target is");
  const { root, config, roundingOf } = seal;
  const own: RecordSeal = { root, config, roundingOf };
  const json: unknown = JSON.parse(text);
  if (!isJsonObject(json)) throw new Error("a record that is no object");
  return Buffer.from(`${JSON.stringify({ ...json, seal: own }, null, 1)}\n`);
}

function encodingNotes(encoding: string | null, abouts: readonly PartAbout[]): string[] {
  if (encoding === null) return [];
  const count = (name: "kept" | "canonical") => abouts.reduce((sum, about) => sum + (about.encoding?.[name] ?? 0), 0);
  return [
    `${encoding}: ${count("kept")} groups have the scales they had, ${count("canonical")} the canonical ones, counted in each part that needs them`,
  ];
}

/** Of other plans, whose parts go. */
const othersNotes = (others: readonly PlanState[]): string[] =>
  others.map(({ parts, of }) => {
    const begun = parts.filter(({ state }) => state !== "missing");
    return `removed: what ${begun.length === 1 ? "part" : "parts"} ${numbersText(begun)} of ${of} of another plan had written`;
  });
