// What the seal of a target hashes: the tensors of its view, and under which keys and in which types they are in the target.
// Those that are written as they are hashed pass by, and are not read again.
import { byteLengthOf, type Dtype, elementCount } from "../base/dtype.ts";
import { isFloat } from "../base/floats.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import type { Model } from "../model/model.ts";
import type { ConversionRecord } from "../model/record.ts";
import type { Piece } from "../table/move.ts";
import { asHf, asHfPlanned, type HfView, hasOwnDims } from "../views/as-hf.ts";
import { rounds } from "../views/cast.ts";
import type { Mapping, Planned } from "../views/mapping.ts";
import { virtualSource } from "../views/produce.ts";
import { castSource } from "../views/rounding.ts";
import type { TensorSource } from "../views/tensor-source.ts";
import { holders } from "./parts/seal-share.ts";
import { type Passenger, Passing } from "./passing.ts";

/** What is known of a conversion when it is planned. */
export interface Sealing {
  readonly model: Model | null;
  /** Of the model, where the conversion has one that its view can take over. */
  readonly plan: Planned | null;
  readonly mapping: Mapping;
  /** Of the conversion that made the source, where this is the way back. */
  readonly record: ConversionRecord | null;
  readonly isEncoded: boolean;
  /** Whether files hold parts of tensors that are no ranges of them: their bytes pass in no order. */
  readonly isCut: boolean;
  /** Of the working buffer; known once the whole plan is. */
  readonly bufferBytes: () => number;
}

/** A tensor of the model and the hash that it gets. */
export interface Hashed {
  readonly id: number;
  readonly info: TensorInfo;
}

export interface SealTensors {
  /** All, in the types of the target. */
  readonly target: readonly Hashed[];
  readonly source: TensorSource;
  /** All, in the types of the source, where the target is a rounding. */
  readonly rounded: {
    readonly source: TensorSource;
    readonly all: readonly Hashed[];
    readonly dtypes: Dtype[];
  } | null;
  /** Finds a tensor of the target that holds elements of one of the model. */
  readonly heldBy: () => (key: string) => string;
  /** Those whose bytes pass by as they are hashed: a plan alone never asks. */
  readonly findPassing: () => Passing;
}

/** Whether a model's view is there by its plan, as its files have it, and nothing is cast: it can fail at nothing. */
export function isPlain({ model, plan, mapping: { tensors, source } }: Sealing): boolean {
  if (model === null || plan === null || model.layout.side !== "hf") return false;
  if ((plan.across ?? plan).order !== null || hasOwnDims(model)) return false;
  for (const { info, sources } of tensors.values())
    for (const key of sources) if (source.tensors.get(key)?.dtype !== info.dtype) return false;
  return true;
}

/** Throws InputError where the model has no form in `hf`. */
export function sealTensors(sealing: Sealing): SealTensors {
  const { model, mapping, bufferBytes } = sealing;
  return model === null ? asTheyAre(virtualSource(mapping, bufferBytes)) : ofModel(model, sealing);
}

function asTheyAre(source: TensorSource): SealTensors {
  const target = numbered(source, 0);
  return {
    target,
    source,
    rounded: null,
    heldBy: () => (key) => key,
    findPassing: () => new Passing(target.map((each) => ({ ...each, ...whole(each.info.key) }))),
  };
}

function ofModel(model: Model, { plan, mapping, record, isCut, bufferBytes }: Sealing): SealTensors {
  const options = { tolerate: true, mixedDtypes: true, bufferBytes };
  const view = plan === null ? asHf(model, options) : asHfPlanned(model, plan, options);
  const typeOf = targetTypes(view, mapping, record);
  const toHf = mapping.to.side === "hf";
  const source = castSource(wideWhereCast(view, typeOf).source, typeOf);
  const target = numbered(source, 0);
  const types = [...view.source.tensors.values()].map(({ key, dtype }) => [dtype, typeOf(key) ?? dtype] as const);
  const casts = types.filter(([from, to]) => isFloat(from) && isFloat(to) && rounds(from, to));
  const dtypes = [...new Set(casts.map(([, to]) => to))];
  const all = dtypes.length === 0 || toHf ? null : numbered(view.source, target.length);
  return {
    target,
    source,
    rounded: all && { source: view.source, all, dtypes },
    heldBy: toHf ? () => (key) => targetKey(key, view, mapping, record) : () => holders(view, mapping),
    findPassing() {
      if (!mayPass(view, mapping)) return new Passing([]);
      const copies = isCut ? new Map<never, never>() : copiesIn(mapping);
      return new Passing(
        target.flatMap((each) => {
          const at = passingAt(each.info, view, mapping, record, copies);
          return at === null ? [] : [{ ...each, ...at }];
        }),
      );
    },
  };
}

const numbered = ({ tensors }: TensorSource, first: number): Hashed[] =>
  [...tensors.values()].map((info, i) => ({ id: first + i, info }));

/** Encoded tensors that are cast are rounded once, from all their digits. */
function wideWhereCast(view: HfView, typeOf: (key: string) => Dtype | undefined): HfView {
  const cast = [...view.source.tensors.values()].filter(
    ({ key, dtype, encoding }) => encoding !== undefined && (typeOf(key) ?? dtype) !== dtype,
  );
  const keys = cast.flatMap(({ key }) => view.origins.get(key) ?? [key]);
  return keys.length === 0 ? view : view.widened(new Set(keys));
}

/** The key that a tensor has in files of `hf`. */
function targetKey(key: string, view: HfView, { from }: Mapping, record: ConversionRecord | null): string {
  if (from.side === "hf") return view.origins.get(key)?.[0] ?? key;
  const spelled = record?.spelling.get(key) ?? key;
  return record?.names.get(spelled) ?? spelled;
}

/** The type that each tensor has in the target. */
function targetTypes(view: HfView, mapping: Mapping, record: ConversionRecord | null) {
  const types = new Map<string, Dtype>();
  const toHf = mapping.to.side === "hf";
  for (const [key, { info, sources }] of mapping.tensors) {
    for (const name of toHf ? [key] : sources) types.set(name, info.dtype);
  }
  return (key: string): Dtype | undefined => {
    if (toHf) return types.get(targetKey(key, view, mapping, record));
    return types.get(key) ?? types.get(view.origins.get(key)?.[0] ?? "");
  };
}

/** Whether anything is written in the order of dims in which it is hashed. */
const mayPass = (view: HfView, mapping: Mapping): boolean =>
  mapping.order === null && view.plan.order === null && (mapping.from.side !== "hf" || !hasOwnDims(view.model));

/** Where a tensor is written as it is hashed; null of one that is not. */
function passingAt(
  info: TensorInfo,
  view: HfView,
  mapping: Mapping,
  record: ConversionRecord | null,
  copies: ReadonlyMap<string, Copy>,
): Pick<Passenger, "key" | "begin" | "isWhole"> | null {
  if (mapping.from.side === "hf" && view.origins.get(info.key)?.length !== 1) return null;
  const own = targetKey(info.key, view, mapping, record);
  if (mapping.to.side === "hf") return isLike(mapping.tensors.get(own)?.info, info) ? whole(own) : null;
  if (mapping.from.side === "native") return stayingAt(info, view, mapping);
  // Of two steps through Hugging Face the second one's source is not what is looked at here.
  const copy = view.model.layout.side === "hf" ? copies.get(own) : undefined;
  const made = mapping.tensors.get(copy?.key ?? "")?.info;
  if (copy === undefined || made?.dtype !== info.dtype) return null;
  if (`${mapping.source.tensors.get(own)?.shape}` !== `${info.shape}`) return null;
  const begin = byteLengthOf(made.dtype, [copy.offset]);
  return { key: made.key, begin, isWhole: made.byteLength === info.byteLength };
}

/** Within a native layout, of which Hugging Face's tensor is a run: where it lies in one that stays as it is. */
function stayingAt(
  info: TensorInfo,
  view: HfView,
  { tensors, source }: Mapping,
): Pick<Passenger, "key" | "begin" | "isWhole"> | null {
  const seen = view.mapping.tensors.get(info.key);
  const [run, ...others] = seen?.move.pieces ?? [];
  if (run === undefined || others.length > 0 || seen?.partial || view.plan.plus.has(run.source)) return null;
  const made = tensors.get(run.source);
  const [stays, ...more] = made?.move.pieces ?? [];
  const own = source.tensors.get(run.source);
  if (made === undefined || stays?.source !== run.source || more.length > 0 || own === undefined) return null;
  const isKept = stays.sourceOffset === 0 && isRun(stays, elementCount(own.shape)) && made.info.dtype === info.dtype;
  if (!isKept || !isRun(run, elementCount(info.shape))) return null;
  const begin = byteLengthOf(info.dtype, [run.sourceOffset]);
  return { key: made.info.key, begin, isWhole: made.info.byteLength === info.byteLength };
}

const whole = (key: string) => ({ key, begin: 0, isWhole: true });

const isLike = (made: TensorInfo | undefined, { dtype, shape }: TensorInfo): boolean =>
  made !== undefined && made.dtype === dtype && `${made.shape}` === `${shape}`;

/** All elements of a tensor in their order, in whatever type, as a run of one of the target. */
interface Copy {
  readonly key: string;
  /** In elements. */
  readonly offset: number;
}

/** By key of the source. */
function copiesIn({ tensors, source, plus }: Mapping): ReadonlyMap<string, Copy> {
  const copies = new Map<string, Copy>();
  for (const [key, { move, partial }] of tensors) {
    if (partial) continue;
    for (const piece of move.pieces) {
      const info = source.tensors.get(piece.source);
      if (info === undefined || plus?.has(info.key) || piece.sourceOffset !== 0) continue;
      if (!isRun(piece, elementCount(info.shape))) continue;
      copies.set(info.key, { key, offset: piece.targetOffset });
    }
  }
  return copies;
}

/** Whether a piece is so many elements in their order on both sides. */
function isRun({ sizes, sourceStrides, targetStrides }: Piece, elements: number): boolean {
  return sizes.length === 1 && sourceStrides[0] === 1 && targetStrides[0] === 1 && sizes[0] === elements;
}
