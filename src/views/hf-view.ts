// A side as HF tensors, and what is wrong with it: a flawed checkpoint is compared as far as it goes.

import { type Family, oppositeLayout, tableLayout } from "../family/family.ts";
import type { Layout } from "../family/layout.ts";
import { keysAtFault } from "../table/fault.ts";
import type { Table } from "../table/plan.ts";
import { type Mapping, type Model, mapByTable, tableOf } from "./mapping.ts";
import { virtualSource } from "./produce.ts";
import { renamedSource, type TensorSource } from "./tensor-source.ts";

/** A checkpoint's model under its layout's keys. */
export interface ViewedSide extends Model {
  readonly layout: Layout;
  readonly model: TensorSource;
}

/** A side through its table, compiled once. */
export interface SeenSide {
  readonly table: Table;
  /** To `hf`, or from it to the family's first native layout, around what is at fault: its `faults`. */
  readonly mapping: Mapping;
}

/**
 * Maps a side to the other one as far as it goes. Throws InputError where nothing tells what its tensors become:
 * AMBIGUOUS_ORDER, MIXED_DTYPES, KEY_COLLISION.
 */
export function seenThroughTable({ family, layout, model }: ViewedSide): SeenSide {
  const table = tableOf(tableLayout(family, layout));
  const way = [layout, oppositeLayout(family, layout)] as const;
  return { table, mapping: mapByTable(table, model, way, { tolerate: true, buffers: false }) };
}

export interface HfView {
  /** In the canonical order of dims, by canonical HF key; without aliases, derived buffers and what cannot be made. */
  readonly source: TensorSource;
  readonly seen: SeenSide;
}

/** The tensors of a side as HF has them, made as they are read. Throws what `seenThroughTable` throws. */
export function hfView(side: ViewedSide): HfView {
  const seen = seenThroughTable(side);
  return { source: side.layout.side === "hf" ? inOwnLayout(side, seen) : wholeTensors(seen.mapping), seen };
}

function wholeTensors(mapping: Mapping): TensorSource {
  const whole = [...mapping.tensors].filter(([, { partial }]) => partial === undefined);
  return virtualSource({ ...mapping, tensors: new Map(whole) });
}

/** HF tensors under their canonical keys, in the canonical order of dims. */
function inOwnLayout({ family, model }: ViewedSide, seen: SeenSide): TensorSource {
  const { equalities, dropped, spelling, order, faults = [] } = seen.mapping;
  const apart = new Set([
    ...equalities.map(({ alias }) => alias),
    ...dropped.map(({ key }) => key),
    ...keysAtFault(faults),
  ]);
  const canonical = new Map([...spelling].map(([key, spelled]) => [spelled, key]));
  const own = [...model.tensors.keys()].filter((key) => !apart.has(key));
  const names = new Map(own.map((key) => [canonical.get(key) ?? key, key]));
  // An encoding may declare dims of its own.
  const isEncoded = [...model.tensors.values()].some(({ encoding }) => encoding !== undefined);
  return order === null && !isEncoded ? renamedSource(model, names) : reordered(family, model, seen, names);
}

/** There and back: the way back writes the canonical order. */
function reordered(
  { hf, layouts: [native] }: Family,
  model: TensorSource,
  { table, mapping: there }: SeenSide,
  names: ReadonlyMap<string, string>,
): TensorSource {
  const back = mapByTable(table, virtualSource(there), [native, hf], { tolerate: true });
  const own = new Set(names.values());
  const isWhole = (native: string) => {
    const tensor = there.tensors.get(native);
    return tensor !== undefined && tensor.partial === undefined && tensor.sources.every((from) => own.has(from));
  };
  // A key of the canonical order that the files do not have is made of what they have.
  const isMade = (key: string, sources: readonly string[]) => !model.tensors.has(key) && sources.every(isWhole);
  const tensors = [...back.tensors].filter(([key, { sources }]) => names.has(key) || isMade(key, sources));
  return virtualSource({ ...back, tensors: new Map(tensors) });
}
