// Carries out a plan: checks values, writes beside the target, verifies what was read, and only then gives the names.
import { join } from "node:path";
import { elementCount } from "../base/dtype.ts";
import { runSteps, type StepOptions } from "../base/steps.ts";
import { witness } from "../base/witness.ts";
import type { Format, MergedAdapter, MergedMeasure, MergedTensor } from "../formats/checkpoint.ts";
import { commitOf } from "../formats/io/folder.ts";
import { sharing } from "../formats/zip/shared-sums.ts";
import { checkArgument } from "../model/argument-kinds.ts";
import { checkPadding } from "../model/tensors/padding.ts";
import { executeOutput, type Kept, type WrittenFile } from "../output/execute.ts";
import { replacedNotes } from "../output/replaced.ts";
import { checkTarget } from "../output/safe-target.ts";
import { settleTarget } from "../output/staging.ts";
import { refuseOtherFile } from "../output/target.ts";
import { addStats, type CastStats } from "../views/cast.ts";
import { checkBytes, checkValues } from "../views/checks.ts";
import { Gatherer } from "../views/gather.ts";
import { hashesFor } from "../views/identity/hash-thread.ts";
import type { Mapping } from "../views/mapping.ts";
import { Producer } from "../views/produce.ts";
import { besideOutput } from "./bytes/beside.ts";
import { refuseOverflow, refuseVanished } from "./bytes/casts.ts";
import { producing } from "./bytes/producing.ts";
import { type CrewOptions, ThreadCrew } from "./crew/crew.ts";
import { checkInputs, identityOf, survives } from "./inputs.ts";
import type { Cast, ConversionPlan } from "./plan.ts";
import type { Result as SealResult } from "./target-seal.ts";

export interface ConvertOptions extends StepOptions {
  /** Continues what a killed run of the same plan left. */
  readonly resume?: boolean;
  /** Replaces a target that is a checkpoint, at the end. */
  readonly force?: boolean;
  /** Told what a run that failed leaves for one with `resume`. */
  readonly onKept?: (kept: Kept) => void;
  /** Called once it is sure that the target may be written, before weights are read. */
  readonly onStart?: () => void;
  /** Makes the output durable before it gets its name; true unless given. */
  readonly fsync?: boolean;
  /** How the threads that the plan has room for come to the same plan; without it this one does all. */
  readonly crew?: CrewOptions | undefined;
}

export interface CastReport extends Cast {
  /** Largest |cast − value| / |value| over finite values; null where a resumed run had them written before. */
  readonly maxRelativeError: number | null;
  /** Values that became zero; null as above. */
  readonly vanished: number | null;
}

export interface MergeReport {
  readonly adapters: readonly MergedAdapter[];
  /** `measured` is null of a tensor that was not seen whole: an earlier run, which this one continued, had written of it, or parts made the same. */
  readonly tensors: readonly (MergedTensor & { readonly measured: MergedMeasure | null })[];
}

/** The JSON document of `convert` (CONTRACT). */
export interface Conversion {
  readonly verdict: "pass";
  readonly family: string | null;
  /** `commit`: of the repository that it was read from. */
  readonly from: { readonly path: string; readonly commit?: string; readonly layout: string; readonly format: Format };
  readonly to: { readonly path: string; readonly layout: string; readonly format: Format };
  /** Number of tensors of the target, and of the source that they were made from. */
  readonly tensors: number;
  readonly sourceTensors: number;
  /** Of tensor data in the target. */
  readonly bytes: number;
  readonly ties: readonly { readonly alias: string; readonly of: string }[];
  readonly dropped: ConversionPlan["dropped"];
  /** Those of `dropped` that the user let go with --allow-drop. */
  readonly waived: ConversionPlan["waived"];
  readonly casts: readonly CastReport[];
  /** Tensors that a cast of all weights passed by, because their family marks them as critical. */
  readonly kept: ConversionPlan["kept"];
  /** What was merged into the source, and what that did to each tensor; absent where nothing was. */
  readonly merged?: MergeReport;
  /** What the target is, as \`seal\` finds it; null of a target that is stored in codes. */
  readonly seal: SealResult | null;
  /** Whether the user did without (--no-seal). */
  readonly isUnsealed?: boolean;
  readonly peakRamBytes: number;
  readonly seconds: number;
  readonly files: readonly WrittenFile[];
  /** Names of what is beside the source and did not go along. */
  readonly leftBehind: readonly string[];
  /** What could not be checked of the source, in words; null where there was nothing. */
  readonly notChecked: string | null;
  /** Whether the disk had everything before it got its name. */
  readonly durable: boolean;
  readonly notes: readonly string[];
}

/**
 * Throws InputError TARGET_EXISTS, TARGET_UNSAFE, TIE_BROKEN, DROP_NOT_DEFAULT, CAST_OVERFLOW, CAST_UNDERFLOW, CRC_MISMATCH and what reading finds;
 * EnvironmentError where the disk fails. Then nothing is left behind but what `resume` can use.
 */
export async function convert(plan: ConversionPlan, options: ConvertOptions = {}): Promise<Conversion> {
  checkArgument("convert", "plan", plan);
  const begin = performance.now();
  const { source, target, mapping, memory, reads } = plan;
  const { force = false } = options;
  settleTarget(target.path);
  checkTarget(target.path, { force, reads, writes: plan.files });
  refuseOtherFile(target.path);
  options.onStart?.();
  const total = plan.mappings.reduce((sum, each) => sum + checkBytes(each), 0);
  await runSteps(checkAll(plan), "checking", total, options);
  const casts = new Map<string, CastStats>();
  const crew = crewFor(plan, options, casts);
  const beside = besideOutput(crew === undefined && memory.hasThreads ? plan.diskBytes : 0, plan.seal !== null);
  const { blocks, writer } = beside;
  const hashes = plan.hashesFiles ? hashesFor(memory.hasThreads ? plan.diskBytes : 0, blocks) : undefined;
  const producer = new Producer(mapping, new Gatherer(memory.bufferBytes, { blocks }));
  const replaced: string[] = [];
  let written = 0;
  if (crew === undefined) plan.seal?.start(plan.diskBytes, { memory, ...beside });
  else plan.seal?.startApart(crew);
  const files = await executeOutput({
    files: plan.files,
    produce: producing(plan, producer, blocks, (key) => checkCast(producer.casts.get(key), key, mapping)),
    writer,
    crew,
    identity: identityOf(plan),
    fsync: options.fsync ?? true,
    resume: options.resume ?? false,
    force,
    reads,
    hashes,
    onReplaced: (committed) => replaced.push(...replacedNotes(committed)),
    verify: async () => {
      await plan.seal?.finish();
      await crew?.finish();
      const verify = () => source.verify(plan.sourceKeys);
      if (crew === undefined) verify();
      else sharing(crew.sums, verify);
      checkInputs(plan.inputs);
    },
    isUseful: (error) => survives(plan.inputs, error),
    ...(options.onKept === undefined ? {} : { onKept: options.onKept }),
    onProgress: ({ bytes, totalBytes }) => {
      plan.seal?.advance(bytes - written);
      written = bytes;
      options.onProgress?.({ label: "writing", done: bytes, total: totalBytes });
    },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(target.fileName === null ? { targetDir: target.path } : { targetFile: target.path }),
  }).finally(async () => {
    plan.seal?.close();
    hashes?.close();
    beside.close();
    await crew?.stop();
  });
  const stats = crew === undefined ? producer.casts : casts;
  noteConfig(plan);
  return {
    verdict: "pass",
    family: plan.family,
    from: { path: source.path, ...commitOf(source), layout: plan.from.name, format: source.format },
    to: { path: target.path, layout: plan.to.name, format: target.format },
    tensors: mapping.tensors.size,
    sourceTensors: plan.mappings[0]!.source.tensors.size,
    bytes: [...mapping.tensors.values()].reduce((sum, { info }) => sum + info.byteLength, 0),
    ties: plan.mappings.flatMap(({ equalities }) => equalities.map(({ alias, of }) => ({ alias, of }))),
    dropped: plan.dropped,
    waived: plan.waived,
    casts: plan.casts.map((cast) => ({
      ...cast,
      maxRelativeError: stats.get(cast.key)?.maxRelativeError ?? null,
      vanished: stats.get(cast.key)?.vanished ?? null,
    })),
    kept: plan.kept,
    ...mergeReport(source),
    seal: plan.seal?.result ?? null,
    ...(plan.isUnsealed ? { isUnsealed: true } : {}),
    peakRamBytes: process.resourceUsage().maxRSS * 1024,
    seconds: (performance.now() - begin) / 1e3,
    files,
    leftBehind: plan.leftBehind,
    notChecked: source.notChecked?.() ?? crew?.notChecked ?? null,
    durable: options.fsync ?? true,
    notes: [...plan.notes, ...encodingNote(plan), ...replaced],
  };
}

/** After the writing. */
function mergeReport({ merged }: ConversionPlan["source"]): Pick<Conversion, "merged"> {
  if (merged === undefined) return {};
  const tensors = merged.tensors.map((tensor) => ({ ...tensor, measured: merged.measured(tensor.key) }));
  return { merged: { adapters: merged.adapters, tensors } };
}

/** Undefined where one thread does all. */
function crewFor(plan: ConversionPlan, options: ConvertOptions, casts: Map<string, CastStats>): ThreadCrew | undefined {
  if (options.crew === undefined || plan.memory.workers < 2) return undefined;
  const onCasts = (found: Iterable<readonly [string, CastStats]>): void => {
    for (const [key, stats] of found) {
      casts.set(key, addStats(casts.get(key), stats));
      checkCast(casts.get(key), key, plan.mapping);
    }
  };
  return new ThreadCrew(options.crew, { plan, signal: options.signal, onCasts });
}

/** For the header of a report, beside the source's. */
function noteConfig({ target, config }: ConversionPlan): void {
  if (config === null) return;
  witness()?.config(target.path, { path: join(target.path, config.name), text: config.text }, config.mathematics);
}

function encodingNote({ encoding }: ConversionPlan): string[] {
  if (encoding === null) return [];
  encoding.close();
  const { kept, canonical } = encoding.counts;
  return [`${encoding.name}: ${kept} groups have the scales they had, ${canonical} the canonical ones`];
}

function* checkAll({ mappings, isWaived, padding }: ConversionPlan): Generator<number, void, void> {
  yield* checkPadding(padding, isWaived);
  for (const mapping of mappings) yield* checkValues(mapping, isWaived);
}

function checkCast(stats: CastStats | undefined, key: string, { tensors }: Mapping): void {
  if (stats === undefined) return;
  refuseOverflow(key, stats);
  refuseVanished(key, stats, elementCount(tensors.get(key)?.info.shape ?? []));
}
