// Under which keys, and in which types, tensors of the seal are in the target: those that are written as they are hashed pass
// by, and are not read again.
import { byteLengthOf, type Dtype, elementCount } from "../base/dtype.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import type { ConversionRecord } from "../model/record.ts";
import type { Piece } from "../table/move.ts";
import { type HfView, hasOwnDims } from "../views/as-hf.ts";
import type { Mapping } from "../views/mapping.ts";
import type { Passenger } from "./passing.ts";

/** The key that a tensor has in files of `hf`. */
export function targetKey(key: string, view: HfView, { from }: Mapping, record: ConversionRecord | null): string {
  if (from.side === "hf") return view.origins.get(key)?.[0] ?? key;
  const spelled = record?.spelling.get(key) ?? key;
  return record?.names.get(spelled) ?? spelled;
}

/** The type that each tensor has in the target. */
export function targetTypes(view: HfView, mapping: Mapping, record: ConversionRecord | null) {
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
export const mayPass = (view: HfView, mapping: Mapping): boolean =>
  mapping.order === null && view.plan.order === null && (mapping.from.side !== "hf" || !hasOwnDims(view.model));

/** Where a tensor is written as it is hashed; null of one that is not. */
export function passingAt(
  info: TensorInfo,
  view: HfView,
  mapping: Mapping,
  record: ConversionRecord | null,
  copies: ReadonlyMap<string, Copy>,
): Pick<Passenger, "key" | "begin" | "isWhole"> | null {
  if (mapping.from.side === "hf" && view.origins.get(info.key)?.length !== 1) return null;
  const own = targetKey(info.key, view, mapping, record);
  if (mapping.to.side === "hf") return isLike(mapping.tensors.get(own)?.info, info) ? whole(own) : null;
  // Of two steps through Hugging Face the second one's source is not what is looked at here.
  const copy = view.model.layout.side === "hf" ? copies.get(own) : undefined;
  const made = mapping.tensors.get(copy?.key ?? "")?.info;
  if (copy === undefined || made?.dtype !== info.dtype) return null;
  if (`${mapping.source.tensors.get(own)?.shape}` !== `${info.shape}`) return null;
  const begin = byteLengthOf(made.dtype, [copy.offset]);
  return { key: made.key, begin, isWhole: made.byteLength === info.byteLength };
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
export function copiesIn({ tensors, source, plus }: Mapping): ReadonlyMap<string, Copy> {
  const copies = new Map<string, Copy>();
  for (const [key, { move, partial }] of tensors) {
    if (partial) continue;
    for (const piece of move.pieces) {
      const info = source.tensors.get(piece.source);
      if (info === undefined || plus?.has(info.key) || !isRun(piece, elementCount(info.shape))) continue;
      copies.set(info.key, { key, offset: piece.targetOffset });
    }
  }
  return copies;
}

function isRun({ sourceOffset, sizes, sourceStrides, targetStrides }: Piece, elements: number): boolean {
  const isPlain = sizes.length === 1 && sourceStrides[0] === 1 && targetStrides[0] === 1;
  return isPlain && sizes[0] === elements && sourceOffset === 0;
}
