// A side as HF tensors, and what is wrong with it: a flawed checkpoint is compared as far as it goes.

import { InputError } from "../base/errors.ts";
import { oppositeLayout, tableLayout } from "../family/family.ts";
import type { Layout } from "../family/layout.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import { compileTable, type TableTensor } from "../table/plan.ts";
import type { Difference } from "./difference.ts";
import { dtypeChoice } from "./dtypes.ts";
import { type Mapping, type Model, mapByTable, mapTensors } from "./mapping.ts";
import { virtualSource } from "./produce.ts";
import { renamedSource, type TensorSource, tensorInfo } from "./tensor-source.ts";

/** A checkpoint's model under its layout's keys. */
export interface ViewedSide extends Model {
  readonly layout: Layout;
  readonly model: TensorSource;
}

export interface TolerantMapping {
  /** To `hf`, or from it to the family's own layout. Its source stands in for what is missing or misshapen. */
  readonly mapping: Mapping;
  /** Keys of the source that are stood in for: not to be read. */
  readonly standIns: ReadonlySet<string>;
  readonly faults: readonly Difference[];
}

/** Each fault costs one more plan. */
const MAX_FAULTS = 1000;

/** Maps a side to the other one, listing what is missing, unknown or misshapen instead of stopping at it. */
export function mapTolerantly(side: ViewedSide): TolerantMapping {
  const { family, layout, model } = side;
  const other = oppositeLayout(family, layout);
  const native = tableLayout(family, layout);
  const table = compileTable(native.rules(), native.axes());
  const known = new Map(table.tensors(layout.side, model.tensors).map((tensor) => [tensor.key, tensor]));
  const headers = new Map(model.tensors);
  const standIns = new Set<string>();
  const faults: Difference[] = [];
  const source: TensorSource = { tensors: headers, read: (...range) => model.read(...range) };
  const options = { dtypes: dtypeChoice([]), allowDrop: () => true, buffers: false };
  for (;;) {
    try {
      const mapping = mapTensors(side, source, layout, other, options);
      for (const { key } of mapping.dropped) {
        if (!known.has(key)) faults.push({ key, kind: "extra", detail: "no rule of the family knows it" });
      }
      return { mapping, standIns, faults };
    } catch (error) {
      if (!(error instanceof InputError) || faults.length >= MAX_FAULTS) throw error;
      faults.push(mend(error, headers, known, standIns));
    }
  }
}

/** Makes the plan pass the tensor that stopped it. Throws the error where that cannot be done. */
function mend(
  error: InputError,
  headers: Map<string, TensorInfo>,
  known: ReadonlyMap<string, TableTensor>,
  standIns: Set<string>,
): Difference {
  const { tensor: key = "" } = error.details;
  const own = known.get(key);
  const shape = own && sizesOf(own);
  const dtype = headers.get(key)?.dtype ?? [...headers.values()][0]?.dtype ?? "F32";
  const standIn = () => {
    if (shape === undefined || standIns.has(key)) throw error;
    standIns.add(key);
    headers.set(key, tensorInfo(key, dtype, shape));
  };
  switch (error.code) {
    case "MISSING_TENSOR":
      standIn();
      return { key, kind: "missing", detail: `expected ${dtype} [${shape?.join(", ")}]` };
    case "MISSING_TOWER": {
      const { tower } = known.get(key)!;
      const lost = [...known.values()].filter((tensor) => tensor.tower === tower && tensor.need === "required");
      for (const tensor of lost) {
        standIns.add(tensor.key);
        headers.set(tensor.key, tensorInfo(tensor.key, dtype, sizesOf(tensor)));
      }
      return { key, kind: "missing", detail: error.message };
    }
    case "SHAPE_MISMATCH":
      standIn();
      return { key, kind: "shape", detail: `expected ${error.details.expected}, found ${error.details.found}` };
    case "TWO_SPELLINGS":
      headers.delete(key);
      return { key, kind: "extra", detail: error.message };
    default:
      throw error;
  }
}

const sizesOf = ({ shape }: TableTensor): number[] => shape.map((size) => size ?? 1);

export interface HfView {
  /** In the canonical order of dims, by canonical HF key; without aliases, derived buffers and what cannot be made. */
  readonly source: TensorSource;
  readonly tolerant: TolerantMapping;
}

/** The tensors of a side as HF has them, made as they are read. */
export function hfView(side: ViewedSide): HfView {
  const tolerant = mapTolerantly(side);
  const { mapping, standIns } = tolerant;
  if (side.layout.side === "hf") {
    const apart = new Set([...mapping.equalities.map(({ alias }) => alias), ...mapping.dropped.map(({ key }) => key)]);
    const canonical = new Map([...mapping.spelling].map(([key, spelled]) => [spelled, key]));
    const own = [...side.model.tensors.keys()].filter((key) => !apart.has(key) && !standIns.has(key));
    const names = new Map(own.map((key) => [canonical.get(key) ?? key, key]));
    // An encoding may declare dims of its own.
    const isEncoded = [...side.model.tensors.values()].some(({ encoding }) => encoding !== undefined);
    const isCanonical = mapping.order === null && !isEncoded;
    const source = isCanonical ? renamedSource(side.model, names) : reordered(side, mapping, names);
    return { source, tolerant };
  }
  const whole = [...mapping.tensors].filter(([, { sources }]) => !sources.some((key) => standIns.has(key)));
  return { source: virtualSource({ ...mapping, tensors: new Map(whole) }), tolerant };
}

/** There and back: the way back writes the canonical order. */
function reordered(side: ViewedSide, there: Mapping, names: ReadonlyMap<string, string>): TensorSource {
  const { family } = side;
  const back = mapByTable(virtualSource(there), family.layouts[0], family.hf, { dtypes: dtypeChoice([]) });
  const own = new Set(names.values());
  // A key of the canonical order that the files do not have is made of what they have.
  const isMade = (key: string, sources: readonly string[]) =>
    !side.model.tensors.has(key) &&
    sources.every((native) => there.tensors.get(native)?.sources.every((from) => own.has(from)));
  const tensors = [...back.tensors].filter(([key, { sources }]) => names.has(key) || isMade(key, sources));
  return virtualSource({ ...back, tensors: new Map(tensors) });
}
