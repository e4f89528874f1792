// How the tensors of a source reach the target: through the family's table, in one step or two, or as they are.

import { UsageError } from "../base/errors.ts";
import type { EncodedSource } from "../encodings/encoded.ts";
import { defaultTarget, throughTable } from "../family/family.ts";
import { isSameLayout, type Layout, layoutNamed, layoutsOf, type Place, RAW } from "../family/layout.ts";
import { refuseEmptied } from "../foreign/foreign.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { RECORD_NAME } from "../formats/file-names.ts";
import { shardAlone } from "../formats/shard-alone.ts";
import { type ConfigFile, configBeside } from "../model/configs/config-files.ts";
import { contradictionsIn } from "../model/configs/configured.ts";
import { encodingFault } from "../model/configs/stored-as.ts";
import { refuseRanks } from "../model/joined.ts";
import { isTrainerState, leftAlone } from "../model/keys.ts";
import { type Model, type ModelOptions, openModel } from "../model/model.ts";
import { type RankedTensor, rankedTensors } from "../model/ranks.ts";
import { type ConversionRecord, recordIn } from "../model/record.ts";
import type { Table } from "../table/plan.ts";
import { absentPart } from "../views/difference.ts";
import type { DtypeChoice } from "../views/dtypes.ts";
import {
  type Mapping,
  type MappingOptions,
  mapAsIs,
  mapByTable,
  mapped,
  type Planned,
  planned,
} from "../views/mapping.ts";
import { virtualSource } from "../views/produce.ts";
import { tableTo } from "../views/tables.ts";
import { withPaddedRows } from "./bytes/padded.ts";
import { encodeMapping, type TargetEncoding, targetEncoding, truthfulConfig } from "./encode-target.ts";
import { settledBy, withKept } from "./record-of.ts";
import { type Carried, carriedState } from "./trainer/carried.ts";
import { checkWaivers, keptNote, type Waivers } from "./waivers.ts";

export interface RouteOptions extends ModelOptions {
  /** Name of the target's layout, or `raw`; the other side's default layout unless given. */
  readonly to?: string | undefined;
  /** `keep|f32|bf16|f16` and `GLOB=TYPE`. */
  readonly dtype?: readonly string[] | undefined;
  /** Globs of tensors that may be lost. */
  readonly allowDrop?: readonly string[] | undefined;
  /** Whether native buffers that HF lacks are re-created; true unless given. */
  readonly buffers?: boolean | undefined;
  /** Whether the state of the trainer goes along, from one trainer's layout to another; false unless given. */
  readonly optimizer?: boolean | undefined;
  /** Of which the rows of embedding and output layer are to be a multiple, where the target's trainer pads them. */
  readonly vocabularyMultiple?: number | undefined;
  /** `auto|none|fp8|mxfp4`: how weights of an HF target are stored; as its config says unless given. */
  readonly encoding?: string | undefined;
}

/** What the options ask for, read. */
export interface Choices extends Waivers {
  readonly dtypes: DtypeChoice;
  /** Of the working buffer of each step; known once the whole route is. */
  readonly bufferBytes: () => number;
}

export interface Route {
  /** Null where only the container changes. */
  readonly family: string | null;
  readonly from: Place;
  readonly to: Place;
  /** One step, or two through `hf`: the last makes the target's tensors. */
  readonly mappings: readonly Mapping[];
  readonly mapping: Mapping;
  /** Of the conversion that made the source, where this is the way back. */
  readonly record: ConversionRecord | null;
  readonly model: Model | null;
  /** Of the model's own table, to `hf` or from it; null where another decided, or a record. */
  readonly plan: Planned | null;
  /** Tensors of a target layout that is saved as rank shards; null for others. */
  readonly ranked: ReadonlyMap<string, RankedTensor> | null;
  readonly config: ConfigFile | null;
  readonly dropped: readonly { readonly key: string; readonly reason: string }[];
  /** The state of the trainer, where it goes along; null where it does not. */
  readonly carried: Carried | null;
  /** Those of `dropped` that the user let go. */
  readonly waived: readonly string[];
  readonly notes: readonly string[];
  /** Of an HF target that is stored encoded; null where all is plain. */
  readonly encoding: (TargetEncoding & Pick<EncodedSource, "counts" | "workBytes">) | null;
}

/** Any checkpoint: keys, shapes and bits stay. */
export function rawRoute(source: Checkpoint, options: RouteOptions): Route {
  for (const name of ["dtype", "allowDrop"] as const) {
    if ((options[name] ?? []).length === 0) continue;
    throw new UsageError("RAW_KEEPS_ALL", "--to raw changes the container only: no dtypes, nothing dropped by choice", {
      help: "leave out --dtype and --allow-drop, or convert to a layout",
    });
  }
  refuseRanks(source);
  refuseAllHidden(source);
  refuseEmptied(source, source.tensors);
  const mapping = mapAsIs(source, source.paths);
  const record = recordIn(source.folder);
  return {
    family: null,
    from: RAW,
    to: RAW,
    mappings: [mapping],
    mapping,
    record: record?.from.layout === RAW.name ? record : null,
    model: null,
    carried: null,
    plan: null,
    ranked: null,
    config: configBeside(source),
    dropped: source.others.map(({ key, tensor = "not a tensor" }) => ({ key, reason: tensor })),
    waived: [],
    notes: [
      ...(source.notes ?? []),
      ...aloneNote(source),
      ...source.others.flatMap(({ key, tensor }) =>
        tensor === undefined ? [] : [`"${key}" is left out: ${tensor} has no place in any format here`],
      ),
    ],
    encoding: null,
  };
}

function aloneNote(source: Checkpoint): string[] {
  const alone = shardAlone(source);
  return alone === null ? [] : [`${alone.message}: the tensors of the others are not in the target`];
}

/** Trainer state goes along, too. */
function refuseAllHidden({ others }: Checkpoint): void {
  const fault = others.find((entry) => entry.fault !== undefined)?.fault;
  if (fault !== undefined) throw fault;
}

/** Throws what opening the model and planning by its table throw. */
export function layoutRoute(source: Checkpoint, options: RouteOptions, choices: Choices): Route {
  const model = openModel(source, options);
  const to = targetLayout(model, options.to);
  const record = recordFor(model, to);
  const encoding = targetEncoding(model, to, options.encoding, record);
  const table = tableTo(model, to);
  checkWaivers(choices, model, () => table.tensors("hf").map(({ key }) => key));
  const { steps, plan } = mapSteps(model, [to, table], record, encoding, options, choices);
  const last = steps.at(-1)!;
  const { mapping: kept, notes } = record === null ? { mapping: last, notes: [] } : withKept(last, record);
  const plain = withPaddedRows(kept, to, options.vocabularyMultiple);
  const encoded = encoding && encodeMapping(plain, encoding, choices);
  const config = truthfulConfig(model, options.encoding);
  const fault = encodingFault(model);
  const mapping = encoded?.mapping ?? plain;
  const dropped = steps.flatMap((step) => droppedBy(step, choices));
  const waived = dropped.flatMap(({ key }) => (choices.isWaived(key) ? key : []));
  const carried = options.optimizer === true ? carriedState(source, model, to, choices.bufferBytes) : null;
  const left = leftAlone(source).filter(({ key }) => carried === null || !isTrainerState(source, key));
  return {
    family: model.adapter.family,
    from: model.layout,
    to,
    mappings: [...steps.slice(0, -1), plain, ...(encoded ? [mapping] : [])],
    mapping,
    record,
    model,
    plan,
    ranked: rankedTensors(to, table),
    config,
    dropped: [...dropped, ...left],
    carried,
    waived,
    notes: [
      ...model.stored.notes,
      ...(options.to === undefined && isOnItsWay(model) && !isMerged(model) ? [wayNote(model)] : []),
      ...contradictionsIn(model.stored.config).map(({ message }) => message),
      ...notes,
      ...(carried?.notes ?? []),
      ...keptNote(choices, model, new Set(waived)),
      ...new Set(steps.flatMap(({ absent = [] }) => absent.map(absentPart))),
      ...steps.flatMap(addedNote),
      ...(to.side === "hf" && model.layout.side !== "hf" && record === null ? [NO_RECORD] : []),
      ...(config === model.stored.config ? [] : [PLAIN]),
      ...(fault?.code === "ENCODING_UNDECLARED" ? [`${fault.message}; here they are decoded`] : []),
      ...(encoding ? [`${encoding.name}: ${encoding.note}`] : []),
    ],
    encoding: encoding &&
      encoded && { ...encoding, counts: encoded.source.counts, workBytes: encoded.source.workBytes },
  };
}

/** Tensors whose bits do not merely move. */
function addedNote({ plus = new Map() }: Mapping): readonly string[] {
  const [[key, amount] = ["", 0]] = plus;
  if (plus.size === 0) return [];
  const words = amount > 0 ? `${amount} is added to` : `${-amount} is taken from`;
  const others = plus.size === 1 ? "" : ` and of ${plus.size - 1} more like it`;
  return [
    `${words} each value of "${key}"${others}, as the two sides keep it around different values; rounded once to its type`,
  ];
}

const PLAIN = "config.json has no quantization_config, as no tensor of the source is stored so";

const NO_RECORD = `no ${RECORD_NAME} beside the source: shards, metadata and shipped aliases follow the defaults`;

interface Steps extends Pick<Route, "plan"> {
  readonly steps: readonly Mapping[];
}

function mapSteps(
  model: Model,
  [to, table]: readonly [Layout, Table],
  record: ConversionRecord | null,
  encoding: TargetEncoding | null,
  { dtype = [], buffers = true }: RouteOptions,
  { dtypes, isWaived, bufferBytes }: Choices,
): Steps {
  const { table: own, layout, source, family } = model;
  const { hf } = family;
  const shared = { allowDrop: isWaived, buffers };
  const last: MappingOptions = {
    ...shared,
    // Encoding takes the values of the source without a cast.
    ...(encoding === null ? { dtypes } : {}),
    ...(encoding && { targetEncoding: (key: string) => (encoding.isEncoded(key) ? encoding.name : undefined) }),
    mixedDtypes: dtype.length > 0,
    ...settledBy(record),
  };
  const inTwoSteps = ([from, by, to]: readonly [Layout, Layout, Layout], [first, second]: readonly [Table, Table]) => {
    const plan = planned(first, source, [from, by], shared);
    const there = mapped(source, [from, by], plan);
    return { steps: [there, mapByTable(second, virtualSource(there, bufferBytes), [by, to], last)], plan };
  };
  if (layout.side === "hf" && to.side === "hf" && isTurned(model, encoding)) {
    const native = throughTable(family, layout);
    return inTwoSteps([layout, native, hf], [own, own]);
  }
  if (layout.side !== "hf" && to.side !== "hf" && !isSameLayout(layout, to))
    return inTwoSteps([layout, hf, to], [own, table]);
  const plan = planned(table, source, [layout, to], last);
  const isOwn = table === own && record === null && encoding === null;
  return { steps: [mapped(source, [layout, to], plan, last.dtypes)], plan: isOwn ? plan : null };
}

/** Whether a tensor of an HF model is stored under an encoding that has dims of its own, and will no longer be. */
function isTurned({ table, source }: Model, encoding: TargetEncoding | null): boolean {
  if (table.ownDims.size === 0) return false;
  return table.tensors("hf").some(({ key, encodedDims = [] }) => {
    const stored = source.tensors.get(key)?.encoding;
    const written = encoding?.isEncoded(key) ? encoding.name : undefined;
    return stored !== written && [stored, written].some((name) => name !== undefined && encodedDims.includes(name));
  });
}

/** Within one layout an alias goes along, whatever it holds. */
function droppedBy({ dropped, equalities, from, to }: Mapping, { isWaived }: Choices): Route["dropped"] {
  const waived = isSameLayout(from, to) ? [] : equalities.filter(({ alias }) => isWaived(alias));
  return [
    ...dropped.map(({ key, reason }) => ({ key, reason })),
    ...waived.map(({ alias, of }) => ({ key: alias, reason: `waived: "${of}" takes its place` })),
  ];
}

/**
 * Hugging Face's keys in a trainer's container (what accelerate, FSDP or `torch.save` of a model of transformers write) are
 * on their way to the Hub; in safetensors they come from there, unless ranks left them.
 */
const isOnItsWay = ({ layout, checkpoint }: Model): boolean =>
  layout.side === "hf" && (checkpoint.format !== "safetensors" || checkpoint.savedBy !== undefined);

/** A base becomes a model of its own kind, unless another one is asked for. */
const isMerged = ({ checkpoint }: Model): boolean => checkpoint.merged !== undefined;

const wayNote = ({ checkpoint, family }: Model): string =>
  `Hugging Face keys in ${checkpoint.savedBy === undefined ? checkpoint.format : `files of ${checkpoint.savedBy} ranks`} become a Hugging Face folder; --to ${family.layouts[0].name} writes the trainer's layout`;

function targetLayout(model: Model, to: string | undefined): Layout {
  const { family, layout } = model;
  if (to === undefined) return isOnItsWay(model) || isMerged(model) ? family.hf : defaultTarget(family, layout);
  const target = layoutNamed(family, to);
  if (target !== undefined) return target;
  const expected = [...layoutsOf(family), RAW].map(({ name }) => name).join(", ");
  throw new UsageError("UNKNOWN_LAYOUT_NAME", `--to ${to}: ${family.family} has no such layout`, {
    expected,
    found: to,
    help: `known are ${expected}`,
  });
}

/** The record beside the source, where it tells of a conversion from the layout that is now the target. */
function recordFor({ stored, layout, adapter }: Model, to: Layout): ConversionRecord | null {
  const record = stored.record();
  // A record beside Hugging Face's own files tells what was merged, and of no way back.
  if (layout.side === "hf") return null;
  const fits = record?.family === adapter.family && record.to.layout === layout.name && record.from.layout === to.name;
  return fits ? record : null;
}
