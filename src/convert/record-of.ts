// What a conversion writes into its record, and what the way back takes out of it.

import type { Dtype } from "../base/dtype.ts";
import type { EncodedTensor } from "../encodings/encoding.ts";
import type { Checkpoint, SafetensorsOrigin } from "../formats/checkpoint.ts";
import type { Published } from "../formats/io/folder.ts";
import type { Model } from "../model/model.ts";
import { type ConversionRecord, type KeptTensor, keepBytes } from "../model/record.ts";
import type { Target } from "../output/target.ts";
import type { Move } from "../table/move.ts";
import type { PlanOptions } from "../table/plan.ts";
import { type MappedTensor, type Mapping, wholeMove } from "../views/mapping.ts";
import { type TensorSource, tensorInfo } from "../views/tensor-source.ts";

/** What a record tells of the source's files. */
export interface Origin extends Pick<Checkpoint, "format"> {
  readonly safetensors: SafetensorsOrigin | null;
  readonly names: ReadonlyMap<string, string>;
  readonly published: Published | undefined;
  readonly merged: ConversionRecord["merged"];
}

/** Of a model, or of a checkpoint that is taken as it is. */
export const originOf = (source: Checkpoint, model: Model | null): Origin => ({
  format: source.format,
  safetensors: model === null ? (source.safetensors ?? null) : model.stored.safetensors,
  names: model?.stored.names ?? new Map(),
  published: source.folder.published,
  merged: mergedInto(source, model),
});

/** What was merged before, and what is now. */
function mergedInto({ merged }: Checkpoint, model: Model | null): ConversionRecord["merged"] {
  const before = model?.stored.record()?.merged ?? [];
  const now = (merged?.adapters ?? []).map(({ path, ...adapter }) => ({ adapter: path, ...adapter }));
  return before.length + now.length === 0 ? undefined : [...before, ...now];
}

/** The record of a conversion away from `hf`, of a raw one away from safetensors, or of a merge; null for any other. */
export function recordOf(
  source: Origin,
  target: Target,
  family: string | null,
  mapping: Mapping,
  encoded: ReadonlyMap<string, EncodedTensor>,
  isWaived: (key: string) => boolean,
): ConversionRecord | null {
  const { from, to, spelling, order, orderAt } = mapping;
  const isNative = from.side === "hf" && to.side === "native";
  const isRaw = to.side === "raw" && source.safetensors !== null && target.format !== "safetensors";
  if (!isNative && !isRaw) return source.merged === undefined ? null : mergeRecord(source, target, family, mapping);
  return {
    family,
    from: {
      layout: from.name,
      format: source.format,
      ...(source.published === undefined ? {} : { source: source.published.address }),
    },
    to: { layout: to.name, format: target.format },
    safetensors: source.safetensors,
    casts: originalDtypes(mapping),
    aliases: new Map([...mapping.aliases].map(([key, shipped]) => [key, shipped && !isWaived(key)])),
    spelling,
    order,
    orderAt,
    encodings: new Map([...encoded].map(([key, { encoding }]) => [key, encoding.name])),
    names: source.safetensors === null ? new Map() : source.names,
    dropped: keptTensors(mapping, isWaived),
    ...(source.merged === undefined ? {} : { merged: source.merged }),
  };
}

/** Beside files of `hf`: what was merged into them. There is no way back for it to help on. */
const mergeRecord = (
  { format, published, merged }: Origin,
  target: Target,
  family: string | null,
  { from, to }: Mapping,
): ConversionRecord => ({
  family,
  from: { layout: from.name, format, ...(published === undefined ? {} : { source: published.address }) },
  to: { layout: to.name, format: target.format },
  safetensors: null,
  casts: new Map(),
  aliases: new Map(),
  spelling: new Map(),
  order: null,
  orderAt: [],
  encodings: new Map(),
  names: new Map(),
  dropped: [],
  merged,
});

function originalDtypes({ source, tensors }: Mapping): Map<string, Dtype> {
  const originals = new Map<string, Dtype>();
  for (const { info, sources } of tensors.values()) {
    for (const key of sources) {
      const { dtype } = source.tensors.get(key)!;
      if (dtype !== info.dtype) originals.set(key, dtype);
    }
  }
  return originals;
}

function keptTensors({ source, dropped, equalities }: Mapping, isWaived: (key: string) => boolean): KeptTensor[] {
  const lost = [
    ...dropped,
    ...equalities.filter(({ alias }) => isWaived(alias)).map(({ alias, reason }) => ({ key: alias, reason })),
  ];
  const infos = lost.map(({ key }) => source.tensors.get(key)!);
  const bytes = keepBytes(infos, ({ key }, target) => source.read(key, 0, target));
  return lost.map(({ key, reason }, i) => {
    const { dtype, shape } = infos[i]!;
    return { key, reason, dtype, shape, bytes: bytes[i] ?? null };
  });
}

/** What a record decides about the conversion back. */
export const settledBy = (
  record: ConversionRecord | null,
): Pick<PlanOptions, "aliases" | "spelling" | "order" | "orderAt"> =>
  record === null
    ? {}
    : {
        aliases: record.aliases,
        spelling: record.spelling,
        ...(record.order === null ? {} : { order: record.order, orderAt: record.orderAt }),
      };

/** The mapping with the tensors that the record kept, where nothing else makes them. */
export function withKept(mapping: Mapping, record: ConversionRecord): { mapping: Mapping; notes: readonly string[] } {
  const lost = record.dropped.filter(({ key }) => !mapping.tensors.has(key));
  const kept = new Map(lost.flatMap((tensor) => (tensor.bytes === null ? [] : [[tensor.key, tensor.bytes] as const])));
  const infos = new Map(
    lost.filter(({ key }) => kept.has(key)).map(({ key, dtype, shape }) => [key, tensorInfo(key, dtype, shape)]),
  );
  const notes = lost
    .filter(({ bytes }) => bytes === null)
    .map(({ key }) => `"${key}" does not come back: it was dropped on the way here, and too large for the record`);
  if (infos.size === 0) return { mapping, notes };
  const { source, tensors } = mapping;
  const overlay: TensorSource = {
    tensors: new Map([...source.tensors, ...infos]),
    read(key, begin, target) {
      const bytes = kept.get(key);
      if (bytes === undefined) source.read(key, begin, target);
      else target.set(bytes.subarray(begin, begin + target.length));
    },
  };
  const extra = [...infos.values()].map((info): [string, MappedTensor] => [
    info.key,
    { info, move: wholeMove(info, "record"), sources: [info.key] },
  ]);
  return { mapping: { ...mapping, source: overlay, tensors: new Map([...tensors, ...extra]) }, notes };
}

/** The mapping's tensors under the names that they had in the files of the record. */
export function renamedTo(names: ConversionRecord["names"], mapping: Mapping): Mapping {
  if (names.size === 0) return mapping;
  const tensors = [...mapping.tensors.values()].map(({ info, move, ...rest }): readonly [string, MappedTensor] => {
    const key = names.get(info.key) ?? info.key;
    // Pieces of a move may be laid out late: it is not copied.
    return [key, { ...rest, info: { ...info, key }, move: key === info.key ? move : renamedMove(move, key) }];
  });
  return { ...mapping, tensors: new Map(tensors) };
}

const renamedMove = (move: Move, key: string): Move => ({
  key,
  shape: move.shape,
  rule: move.rule,
  ...(move.fill === undefined ? {} : { fill: move.fill }),
  get pieces() {
    return move.pieces;
  },
});
