// A conversion before a byte is read: which tensors, from where, as what, in which files, and what it takes.
import { UsageError } from "../errors.ts";
import type { Checkpoint, Format } from "../formats/checkpoint.ts";
import type { Dtype } from "../formats/dtype.ts";
import type { OutputFile } from "../formats/output.ts";
import { commonFloat, companionFiles, hfConfigText, textFile } from "./companions.ts";
import { type ConfigFile, configBeside } from "./config-files.ts";
import { type DtypeChoice, dtypeChoice, globMatcher } from "./dtypes.ts";
import { checkGlobs, type Mapping, mapTensors, nativeLayout, wholeMove } from "./mapping.ts";
import { type MemoryPlan, planMemory } from "./memory.ts";
import { type Originals, outputFiles, type SizeOptions } from "./outputs.ts";
import { virtualSource } from "./produce.ts";
import { type ConversionRecord, encodeRecord, RECORD_NAME, recordBeside } from "./record.ts";
import { recordOf, withKept } from "./record-of.ts";
import { leftAlone, resolveSide, type Side, type SideOptions } from "./sides.ts";
import { type Target, targetAt } from "./target.ts";

export interface ConversionOptions extends SizeOptions {
  /** Layout of the target, or `raw`; the other side's default layout unless given. */
  readonly to?: string | undefined;
  readonly format?: Format | undefined;
  /** `keep|f32|bf16|f16` and `GLOB=TYPE`. */
  readonly dtype?: readonly string[] | undefined;
  readonly encoding?: string | undefined;
  readonly maxRam?: number | undefined;
  /** Globs of tensors that may be lost. */
  readonly allowDrop?: readonly string[] | undefined;
  /** Whether native buffers that HF lacks are re-created; true unless given. */
  readonly buffers?: boolean | undefined;
  readonly side: SideOptions;
}

export interface Cast {
  readonly key: string;
  readonly from: Dtype;
  readonly to: Dtype;
}

export interface ConversionPlan {
  readonly source: Checkpoint;
  /** Keys in the source that the conversion reads. */
  readonly sourceKeys: readonly string[];
  readonly target: Target;
  readonly family: string | null;
  readonly from: string;
  readonly to: string;
  /** One step, or two through `hf`: the last makes the target's tensors. */
  readonly mappings: readonly Mapping[];
  readonly mapping: Mapping;
  readonly files: readonly OutputFile[];
  readonly dropped: readonly { readonly key: string; readonly reason: string }[];
  readonly casts: readonly Cast[];
  /** Whether the user lets a tensor go, whatever its values. */
  readonly isWaived: (key: string) => boolean;
  readonly memory: MemoryPlan;
  readonly diskBytes: number;
  /** What the user ought to know, in words. */
  readonly notes: readonly string[];
}

/** What the source is, and how its tensors reach the target. */
interface Route {
  readonly family: string | null;
  readonly from: string;
  readonly to: string;
  readonly mappings: readonly Mapping[];
  readonly mapping: Mapping;
  readonly record: ConversionRecord | null;
  readonly side: Side | null;
  readonly config: ConfigFile | null;
  readonly dropped: ConversionPlan["dropped"];
  readonly notes: readonly string[];
}

/** `target` may be left out to see what would happen. Throws UsageError, InputError, EnvironmentError. */
export function planConversion(
  source: Checkpoint,
  targetPath: string | undefined,
  options: ConversionOptions,
): ConversionPlan {
  checkEncoding(options.encoding);
  const dtypes = dtypeChoice(options.dtype ?? []);
  const globs = (options.allowDrop ?? []).map(globMatcher);
  const isWaived = (key: string) => globs.some((matches) => matches(key));
  const route = options.to === "raw" ? rawRoute(source, options) : layoutRoute(source, options, dtypes, isWaived);
  checkGlobs(dtypes);
  const target = targetAt(targetPath ?? "", options.format, defaultFormat(route, source));
  const casts = castsOf(route.mapping);
  const originals = originalsOf(source, route, casts);
  const metadata = originals === null ? { format: "pt" } : commonMetadata(originals.files);
  const outputs = outputFiles({ mapping: route.mapping, target, originals, metadata }, options);
  const beside = target.fileName === null ? besideFiles(source, target, route, { originals, isWaived }) : null;
  const files = [...outputs.files, ...(beside?.files ?? [])];
  const notes = [...route.notes, ...outputs.notes, ...(beside?.notes ?? [])];
  if (beside === null && route.side !== null)
    notes.push("a target that is one file carries no config, tokenizer or record: keep them with it");
  return {
    source,
    sourceKeys: route.side?.storedKeys ?? [...source.tensors.keys()],
    target,
    ...route,
    files,
    casts,
    isWaived,
    memory: planMemory(route.mappings, options.maxRam),
    diskBytes: files.reduce((sum, { byteLength }) => sum + byteLength, 0),
    notes,
  };
}

function checkEncoding(encoding: string | undefined): void {
  if (encoding === undefined || encoding === "auto" || encoding === "none") return;
  const known = encoding === "fp8" || encoding === "mxfp4";
  throw new UsageError(
    "ENCODING_UNSUPPORTED",
    known
      ? `--encoding ${encoding}: this version cannot write ${encoding} yet`
      : `--encoding ${encoding}: no such encoding`,
    { expected: "auto or none", found: encoding, help: "leave out --encoding to write tensors as they are" },
  );
}

/** Any checkpoint: keys, shapes and bits stay. */
function rawRoute(source: Checkpoint, options: ConversionOptions): Route {
  for (const name of ["dtype", "allowDrop"] as const) {
    if ((options[name] ?? []).length === 0) continue;
    throw new UsageError("RAW_KEEPS_ALL", "--to raw changes the container only: no dtypes, nothing dropped by choice", {
      help: "leave out --dtype and --allow-drop, or convert to a layout",
    });
  }
  const moves = [...source.tensors.values()].map((info) => ({ info, move: wholeMove(info), sources: [info.key] }));
  const mapping: Mapping = {
    source,
    from: "raw",
    to: "raw",
    tensors: new Map(moves.map((tensor) => [tensor.info.key, tensor])),
    equalities: [],
    dropped: [],
    spelling: new Map(),
    aliases: new Map(),
  };
  const record = recordBeside(source.path);
  return {
    family: null,
    from: "raw",
    to: "raw",
    mappings: [mapping],
    mapping,
    record: record?.from.layout === "raw" ? record : null,
    side: null,
    config: configBeside(source.path),
    dropped: source.others.map(({ key }) => ({ key, reason: "not a tensor" })),
    notes: [],
  };
}

function layoutRoute(
  source: Checkpoint,
  options: ConversionOptions,
  dtypes: DtypeChoice,
  isWaived: (key: string) => boolean,
): Route {
  const side = resolveSide(source, options.side);
  const to = targetLayout(side, options.to);
  const record = recordFor(side, to);
  const shared = { allowDrop: isWaived, buffers: options.buffers ?? true };
  const last = {
    ...shared,
    dtypes,
    mixedDtypes: (options.dtype ?? []).length > 0,
    ...(record === null ? {} : { aliases: record.aliases, spelling: record.spelling }),
  };
  const mappings: Mapping[] = [];
  if (side.layout !== "hf" && to !== "hf" && to !== side.layout) {
    const toHf = mapTensors(side, side.model, side.layout, "hf", { ...shared, dtypes: dtypeChoice([]) });
    mappings.push(toHf, mapTensors(side, virtualSource(toHf), "hf", to, last));
  } else {
    mappings.push(mapTensors(side, side.model, side.layout, to, last));
  }
  const final = mappings.at(-1)!;
  const { mapping, notes } = record === null ? { mapping: final, notes: [] } : withKept(final, record);
  return {
    family: side.adapter.family,
    from: side.layout,
    to,
    mappings: [...mappings.slice(0, -1), mapping],
    mapping,
    record,
    side,
    config: side.config,
    dropped: [
      ...mappings.flatMap(({ dropped }) => dropped.map(({ key, reason }) => ({ key, reason }))),
      ...mappings.flatMap(({ equalities }) =>
        equalities
          .filter(({ alias }) => isWaived(alias))
          .map(({ alias, of }) => ({
            key: alias,
            reason: `waived: "${of}" takes its place`,
          })),
      ),
      ...leftAlone(source),
    ],
    notes: to === "hf" && side.layout !== "hf" && record === null ? [...notes, NO_RECORD] : notes,
  };
}

const NO_RECORD = `no ${RECORD_NAME} beside the source: shards, metadata and shipped aliases follow the defaults`;

function targetLayout({ adapter, layout }: Side, to: string | undefined): string {
  const target = to ?? (layout === "hf" ? nativeLayout(adapter) : "hf");
  if (target === "hf" || adapter.layouts.includes(target)) return target;
  const expected = ["hf", ...adapter.layouts, "raw"].join(", ");
  throw new UsageError("UNKNOWN_LAYOUT_NAME", `--to ${target}: ${adapter.family} has no such layout`, {
    expected,
    found: target,
    help: `known are ${expected}`,
  });
}

/** The record beside the source, where it tells of a conversion from the layout that is now the target. */
function recordFor({ checkpoint, layout, adapter }: Side, to: string): ConversionRecord | null {
  const record = recordBeside(checkpoint.path);
  const fits = record?.family === adapter.family && record.to.layout === layout && record.from.layout === to;
  return fits ? record : null;
}

function defaultFormat({ to }: Route, { format }: Checkpoint): Format {
  if (to === "raw") return format === "safetensors" ? "dcp" : "safetensors";
  return to === "hf" ? "safetensors" : "dcp";
}

function castsOf({ tensors, source }: Mapping): Cast[] {
  return [...tensors.values()].flatMap(({ info, sources }) => {
    const from = sources.map((key) => source.tensors.get(key)!.dtype).find((dtype) => dtype !== info.dtype);
    return from === undefined ? [] : [{ key: info.key, from, to: info.dtype }];
  });
}

/** The files that the target's tensors once lay in: those of the source, or those that the record tells of. */
function originalsOf(source: Checkpoint, { mapping, record }: Route, casts: readonly Cast[]): Originals | null {
  if (record !== null) {
    if (record.safetensors === null) return null;
    const cast = [...mapping.tensors.values()].some(({ info, sources }) => {
      const before = record.casts.get(info.key) ?? mapping.source.tensors.get(sources[0] ?? "")?.dtype;
      return before !== undefined && before !== info.dtype;
    });
    return { files: record.safetensors, cast };
  }
  if (mapping.from !== mapping.to || source.safetensors === undefined) return null;
  return { files: source.safetensors, cast: casts.length > 0 };
}

/** What all files say; transformers asks for `format: pt`. */
function commonMetadata({ files }: Originals["files"]): Readonly<Record<string, string>> | null {
  const [first, ...others] = files.map(({ metadata }) => metadata);
  const same = others.every((metadata) => JSON.stringify(metadata) === JSON.stringify(first));
  return first !== undefined && same ? first : { format: "pt" };
}

/** What lies beside the weights in a target directory. */
function besideFiles(
  source: Checkpoint,
  target: Target,
  route: Route,
  { originals, isWaived }: { readonly originals: Originals | null; readonly isWaived: (key: string) => boolean },
): { readonly files: readonly OutputFile[]; readonly notes: readonly string[] } {
  const { config, side, to, mapping } = route;
  const files = companionFiles(source.path, config);
  const notes: string[] = [];
  if (config !== null && side !== null && to === "hf") {
    const dtypes = [...mapping.tensors.values()].map(({ info }) => info.dtype);
    const { text, change } = hfConfigText(config, side.family, originals?.cast === false ? null : commonFloat(dtypes));
    files.unshift(textFile("config.json", text));
    if (change !== null) notes.push(change);
  } else if (config !== null) {
    files.unshift(textFile("config.json", config.text));
  }
  const record = recordOf(source, target, route.family, mapping, isWaived);
  if (record !== null) files.push(textFile(RECORD_NAME, encodeRecord(record)));
  return { files, notes };
}
