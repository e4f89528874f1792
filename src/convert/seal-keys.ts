// Under which keys, and in which types, tensors of the seal are in the target: those that are written as they are hashed pass
// by, and are not read again.
import { type Dtype, elementCount } from "../base/dtype.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import type { ConversionRecord } from "../model/record.ts";
import type { Piece } from "../table/move.ts";
import { type HfView, hasOwnDims } from "../views/as-hf.ts";
import type { Mapping } from "../views/mapping.ts";

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

/** The target's key of a tensor that is written there as it is hashed; null of one that is not. */
export function passingKey(
  info: TensorInfo,
  view: HfView,
  mapping: Mapping,
  record: ConversionRecord | null,
  copies: ReadonlyMap<string, string>,
): string | null {
  if (mapping.from.side === "hf" && view.origins.get(info.key)?.length !== 1) return null;
  const own = targetKey(info.key, view, mapping, record);
  // Of two steps through Hugging Face the second one's source is not what is looked at here.
  const key = mapping.to.side === "hf" ? own : view.model.layout.side === "hf" ? copies.get(own) : undefined;
  const made = mapping.tensors.get(key ?? "")?.info;
  const isSame = made !== undefined && made.dtype === info.dtype && `${made.shape}` === `${info.shape}`;
  return isSame && key !== undefined ? key : null;
}

/** By key of the source: the target's tensor that has its elements in its order, in whatever type. */
export function copiesIn({ tensors, source }: Mapping): ReadonlyMap<string, string> {
  return new Map(
    [...tensors].flatMap(([key, { move, sources }]) => {
      const [only, ...others] = sources;
      const info = others.length === 0 ? source.tensors.get(only ?? "") : undefined;
      return info !== undefined && isCopy(move.pieces, elementCount(info.shape)) ? [[info.key, key] as const] : [];
    }),
  );
}

function isCopy(pieces: readonly Piece[], elements: number): boolean {
  const [piece, ...others] = pieces;
  if (piece === undefined || others.length > 0) return false;
  const { sourceOffset, targetOffset, sizes, sourceStrides, targetStrides } = piece;
  const isPlain = sizes.length === 1 && sourceStrides[0] === 1 && targetStrides[0] === 1;
  return isPlain && sizes[0] === elements && sourceOffset === 0 && targetOffset === 0;
}
