// A conversion before a byte is read: which tensors, from where, as what, in which files, and what it takes.
import type { Dtype } from "../base/dtype.ts";
import { decodingBytes } from "../encodings/decoder.ts";
import type { EncodedTensor } from "../encodings/encoding.ts";
import { RAW } from "../family/layout.ts";
import type { Checkpoint, Format } from "../formats/checkpoint.ts";
import { RECORD_NAME } from "../formats/file-names.ts";
import { type FileIn, has, versionOf } from "../formats/io/folder.ts";
import { refuseOutside } from "../formats/io/links.ts";
import type { OutputFile } from "../formats/output.ts";
import { SCALES_NAME } from "../formats/safetensors/locate.ts";
import { planSafetensors } from "../formats/safetensors/write.ts";
import { checkAdapters, checkArgument } from "../model/argument-kinds.ts";
import type { ConfigFile } from "../model/configs/config-files.ts";
import { type ConversionRecord, encodeRecord, recordByteLength } from "../model/record.ts";
import { hasTokenizer, type SideFiles, sideFilesOf } from "../model/side-files.ts";
import type { Padding } from "../model/tensors/padding.ts";
import { type Target, targetAt } from "../output/target.ts";
import { dtypeChoice } from "../views/dtypes.ts";
import { hashingBytes } from "../views/identity/hash-thread.ts";
import { checkGlobs, type Mapping } from "../views/mapping.ts";
import { besideBytes } from "./bytes/beside.ts";
import { copiedFile, textFile } from "./companions.ts";
import { type ConversionMemory, conversionMemory, workersFor } from "./memory.ts";
import { commonMetadata, type Originals, originalsOf, outputFiles, type SizeOptions } from "./outputs.ts";
import { askedFor } from "./parts/asked.ts";
import type { Shard } from "./rank-files.ts";
import { originOf, recordOf, renamedTo } from "./record-of.ts";
import { type Choices, layoutRoute, type Route, type RouteOptions, rawRoute } from "./route.ts";
import { type TargetConfig, targetConfig, targetConfigs } from "./target-config.ts";
import { type TargetSeal, targetSeal } from "./target-seal.ts";
import { stepsWith, withCarried } from "./trainer/with-carried.ts";
import { waiversOf } from "./waivers.ts";

export interface ConversionOptions extends RouteOptions, SizeOptions {
  readonly format?: Format | undefined;
  readonly maxRamBytes?: number | undefined;
  /** Threads that make the output; as many as pay, up to four, for `auto`. One unless given. */
  readonly workers?: number | "auto" | undefined;
  /** Whether it is found what the target is; true unless given. */
  readonly seal?: boolean | undefined;
  /** Whether `files` of the conversion get SHA-256, of what is written. */
  readonly sha256?: boolean | undefined;
}

export interface Cast {
  readonly key: string;
  readonly from: Dtype;
  readonly to: Dtype;
}

/** A critical tensor that a cast of all weights passed by. */
export interface KeptDtype {
  readonly key: string;
  readonly dtype: Dtype;
  readonly reason: string;
}

export interface PlannedInput extends FileIn {
  readonly version: string;
  /** What it is for: tensors, the plan itself (headers apart), or a copy beside the weights. */
  readonly role: "weights" | "description" | "companion";
}

export interface ConversionPlan
  extends Pick<Route, "family" | "from" | "to" | "mappings" | "mapping" | "dropped" | "waived"> {
  readonly source: Checkpoint;
  /** Keys in the source that the conversion reads. */
  readonly sourceKeys: readonly string[];
  /** Keys in the source that hold a tensor of the model: several where codes and scales stand for it. */
  readonly storedAs: (key: string) => readonly string[];
  /** Every file that it reads, as it is now. */
  readonly inputs: readonly PlannedInput[];
  /** Where these lie on disk, and the source itself: none of them may be replaced. */
  readonly reads: readonly string[];
  readonly target: Target;
  readonly files: readonly OutputFile[];
  /** What files of ranks hold of the target's tensors, by the key in their parts. */
  readonly shards: ReadonlyMap<string, Shard>;
  readonly casts: readonly Cast[];
  readonly kept: readonly KeptDtype[];
  readonly isWaived: Choices["isWaived"];
  /** Rows behind the source's vocabulary, which are left out. */
  readonly padding: readonly Padding[];
  /** How an HF target is stored; null where it is plain. */
  readonly encoding: Route["encoding"];
  /** What the target is, which its writing finds; null where that is not found. */
  readonly seal: TargetSeal | null;
  readonly isUnsealed: boolean;
  /**
   * The record as it will be but for what the target turns out to be; null where it tells nothing of that. Megabytes of a
   * large model, and asked for by parts alone.
   */
  readonly recordText: () => string | null;
  /** What was asked for, by the names of options. */
  readonly asked: Readonly<Record<string, string>>;
  /** The target's config as it will be written; null where it has none. */
  readonly config: TargetConfig | null;
  /** Whether what is written gets SHA-256. */
  readonly hashesFiles: boolean;
  readonly memory: ConversionMemory;
  readonly diskBytes: number;
  /** Names of what is beside the source and does not go along. */
  readonly leftBehind: readonly string[];
  /** What the user ought to know, in words. */
  readonly notes: readonly string[];
}

/** `target` may be left out to see what would happen. Throws UsageError, InputError, EnvironmentError. */
export function planConversion(
  checkpoint: Checkpoint,
  targetPath: string | undefined,
  options: ConversionOptions,
): ConversionPlan {
  checkArgument("planConversion", "Checkpoint", checkpoint);
  checkAdapters("planConversion", options);
  // Wrong usage shows first, whatever the source is.
  targetAt(targetPath ?? "", options.format, "dcp");
  const dtypes = dtypeChoice(options.dtype ?? []);
  const waivers = waiversOf(options.allowDrop);
  const { isWaived } = waivers;
  // Memory follows from the whole plan; nothing is read before.
  const bufferBytes = () => memory.bufferBytes;
  const choices = { dtypes, ...waivers, bufferBytes };
  const isRaw = options.to === RAW.name;
  const settled = isRaw ? rawRoute(checkpoint, options) : layoutRoute(checkpoint, options, choices);
  // Under the keys of its layout, which those of the files need not be.
  const source = settled.model?.checkpoint ?? checkpoint;
  checkGlobs(dtypes, settled.mapping);
  const { ranked } = settled;
  const fallback = ranked === null ? defaultFormat(settled, source) : "pt";
  const target = targetAt(targetPath ?? "", options.format, fallback);
  const route = spelledAsBefore(settled, target, options);
  const casts = castsOf(route.mapping);
  const originals = originalsOf(source, route, casts.length > 0);
  const metadata = originals === null ? { format: "pt" } : commonMetadata(originals.files);
  const all = withCarried(route, target);
  const request = { mapping: all, entries: route.carried?.entries, ranked, target, originals, metadata };
  const outputs = outputFiles(request, options);
  const side = sideFilesOf(source.folder, source.files, route.config?.folder ?? null);
  const { model, plan, record, encoding } = route;
  const [isEncoded, isCut] = [encoding !== null, outputs.shards !== undefined];
  const isUnsealed = options.seal === false;
  const sealing = { model, plan, mapping: route.mapping, record, isEncoded, isCut, bufferBytes };
  const seal = isUnsealed ? null : targetSeal(sealing);
  const asides = { originals, isWaived, side, seal, isUnsealed };
  const beside = target.fileName === null ? besideFiles(source, target, route, asides) : null;
  const files = [...outputs.files, ...(beside?.files ?? [])];
  const notes = [...route.notes, ...(source.merged?.notes ?? []), ...outputs.notes, ...(beside?.notes ?? [])];
  if (beside === null && route.model !== null)
    notes.push("a target that is one file carries no config, tokenizer or record: keep them with it");
  if (isUnsealed) notes.push(NO_SEAL);
  source.sample?.();
  const { family, from, to, dropped, waived } = route;
  const [mapping, mappings] = [all, stepsWith(route, all)];
  const inputs = filesRead(source, route.config, side);
  const decoded = [...(route.model?.encoded.values() ?? [])];
  const mergeBytes = source.merged?.workBytes ?? 0;
  const encodingBytes =
    (decoded.length > 0 ? decodingBytes(decoded) : 0) + (route.encoding?.workBytes ?? 0) + mergeBytes;
  const diskBytes = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const hashesFiles = options.sha256 ?? false;
  const threadBytes = besideBytes(diskBytes, seal !== null) + (hashesFiles ? hashingBytes(diskBytes) : 0);
  const isFar = source.folder.diskPathOf() === null;
  const isSummed = source.merged !== undefined;
  const workers = workersFor(options.workers, { bytes: diskBytes, isFar, isEncoded, isSummed });
  const work = { mappings, source, files, encodingBytes, threadBytes, workers };
  const memory = conversionMemory(work, options.maxRamBytes);
  return {
    source,
    sourceKeys: route.model?.stored.keys ?? [...source.tensors.keys()],
    storedAs: storedAs(route.model),
    inputs,
    reads: pathsOnDisk(source, inputs),
    target,
    family,
    from,
    to,
    mappings,
    mapping,
    dropped,
    waived,
    files,
    shards: outputs.shards ?? new Map(),
    casts,
    kept: [...route.mapping.tensors.values()].flatMap(({ info: { key, dtype }, critical }) =>
      critical?.kept ? [{ key, dtype, reason: critical.reason }] : [],
    ),
    isWaived,
    padding: route.model?.stored.padding ?? [],
    encoding: route.encoding,
    seal,
    isUnsealed,
    config: beside?.config ?? null,
    recordText: () => beside?.recordText() ?? null,
    asked: { ...askedFor(options), ...mergedWith(source) },
    hashesFiles,
    memory,
    diskBytes,
    leftBehind: [...(beside === null ? side.along.map(({ name }) => name) : []), ...side.leftBehind],
    notes,
  };
}

const mergedWith = ({ merged }: Checkpoint): Readonly<Record<string, string>> =>
  merged === undefined ? {} : { "--merge-adapter": merged.adapters.map(({ path }) => path).join(", ") };

const NO_SEAL = "the target is not sealed (--no-seal): nothing will tell whether it still is this model";

/** Where the files of the record are written again, with the keys that they had. */
function spelledAsBefore(route: Route, { format, fileName }: Target, { maxShardSize }: ConversionOptions): Route {
  const { record, mapping, mappings, notes } = route;
  const [first] = record?.names.values() ?? [];
  const isAgain = format === "safetensors" && fileName === null && maxShardSize === undefined;
  if (record === null || first === undefined || !isAgain) return route;
  const named = renamedTo(record.names, mapping);
  const note = `keys are spelled as in the files that ${RECORD_NAME} tells of, such as "${first}": without it they are plain`;
  return { ...route, mapping: named, mappings: [...mappings.slice(0, -1), named], notes: [...notes, note] };
}

/** The source's own, the config in use, record, scales and companions. Opens each. Throws what opening throws. */
function filesRead(
  { folder, files, merged }: Checkpoint,
  config: ConfigFile | null,
  { along }: SideFiles,
): PlannedInput[] {
  const input = (role: PlannedInput["role"], file: FileIn): PlannedInput => ({
    folder: file.folder,
    name: file.name,
    role,
    version: versionOf(file),
  });
  const beside = [RECORD_NAME, SCALES_NAME].filter((name) => has(folder, name));
  return [
    ...[...files, ...beside].map((name) => input(isDescription(name) ? "description" : "weights", { folder, name })),
    ...(merged?.files ?? []).map((file) => input(file.role, file)),
    ...(config === null ? [] : [input("description", config)]),
    ...along.map((file) => input("companion", file)),
  ];
}

function storedAs(model: Route["model"]): ConversionPlan["storedAs"] {
  if (model === null) return (key) => [key];
  const { encoded, stored } = model;
  return (key) => {
    const codes = encoded.get(key);
    return codes === undefined ? [stored.placed.get(key) ?? key] : [codes.codes, codes.scales];
  };
}

/** Indexes, records and the metadata of DCP, which are read whole when the plan is made. */
const isDescription = (name: string): boolean => /\.(?:json|metadata)$/.test(name);

function pathsOnDisk({ path, folder }: Checkpoint, inputs: readonly FileIn[]): string[] {
  const paths = inputs.map((file) => file.folder.diskPathOf(file.name));
  return [...paths, path === folder.path ? folder.diskPathOf() : null].filter((each) => each !== null);
}

function defaultFormat({ to }: Route, { format }: Checkpoint): Format {
  if (to.side === "raw") return format === "safetensors" ? "dcp" : "safetensors";
  return to.side === "hf" ? "safetensors" : "dcp";
}

function castsOf({ tensors, source }: Mapping): Cast[] {
  return [...tensors.values()].flatMap(({ info, sources }) => {
    const from = sources.map((key) => source.tensors.get(key)!.dtype).find((dtype) => dtype !== info.dtype);
    return from === undefined ? [] : [{ key: info.key, from, to: info.dtype }];
  });
}

interface BesideOptions extends Pick<Choices, "isWaived"> {
  readonly originals: Originals | null;
  readonly side: SideFiles;
  readonly seal: TargetSeal | null;
  readonly isUnsealed: boolean;
}

type Beside = Pick<ConversionPlan, "files" | "notes" | "config" | "recordText">;

/** What lies beside the weights in a target directory. */
function besideFiles(
  source: Checkpoint,
  target: Target,
  route: Route,
  { originals, isWaived, side, seal, isUnsealed }: BesideOptions,
): Beside {
  const { config, mapping, to, model } = route;
  // Nobody judges whether it is a model's.
  if (model === null && config !== null) refuseOutside(config);
  const configs = config === null ? null : targetConfigs(config, route, originals, target.format);
  const written = configs === null ? [] : [textFile(configs.name, configs.text), ...configs.beside];
  const files = [...written, ...side.along.map(copiedFile)];
  const notes = [...(configs?.notes ?? []), ...side.notes];
  if (to.side === "hf" && !hasTokenizer(side.along))
    notes.push("no tokenizer beside the source: what is written is not ready for the Hub");
  const encoded = model?.encoded ?? new Map();
  const record = recordOf(originOf(source, model), target, route.family, mapping, encoded, isWaived);
  if (record !== null) files.push(recordFile({ ...record, isUnsealed }, seal));
  if (record !== null && encoded.size > 0) files.push(...scalesFile(source, [...encoded.values()]));
  // As it is now: once there is a seal, it is another.
  const sealed = seal?.sealed ?? null;
  const recordText = () => (record !== null && sealed !== null ? encodeRecord({ ...record, seal: sealed }) : null);
  return { files, notes, config: configs && targetConfig(configs, config, model), recordText };
}

/** With what the target turns out to be. */
function recordFile(record: ConversionRecord, seal: TargetSeal | null): OutputFile {
  if (seal === null || seal.sealed === null) return textFile(RECORD_NAME, encodeRecord(record));
  const sealed = () => ({ ...record, seal: seal.sealed ?? undefined });
  const byteLength = recordByteLength(sealed());
  const make = async () => {
    await seal.finish();
    return Buffer.from(encodeRecord(sealed()));
  };
  return { name: RECORD_NAME, byteLength, parts: [{ kind: "late", byteLength, make }] };
}

/** The scales of what was decoded, so that the way back gives the same codes. */
const scalesFile = ({ tensors }: Checkpoint, encoded: readonly EncodedTensor[]): OutputFile[] =>
  planSafetensors(
    encoded.map(({ scales }) => tensors.get(scales)!),
    { metadata: null, maxShardSize: Number.POSITIVE_INFINITY, singleName: SCALES_NAME },
  );
