// What documents of parts tell of a merge: what is merged into which tensors, and what each part saw of it.
import type { JsonReader } from "../../base/json.ts";
import type { Merged, MergedAdapter, MergedPiece, MergedRange, MergedTensor } from "../../formats/checkpoint.ts";
import { measureOf } from "../../formats/merged-pieces.ts";
import type { MergeReport } from "../convert.ts";

export type MergedReport = Pick<Merged, "adapters" | "tensors">;

export const mergedIn = (merged: JsonReader): MergedReport => ({
  adapters: merged.field("adapters").list().map(adapterIn),
  tensors: merged.field("tensors").list().map(tensorIn),
});

function adapterIn(adapter: JsonReader): MergedAdapter {
  const commit = adapter.optional("commit")?.text();
  return {
    path: adapter.field("path").text(),
    ...(commit === undefined ? {} : { commit }),
    sha256: adapter.field("sha256").text(),
    products: adapter.field("products").size(),
    replaced: adapter.field("replaced").size(),
  };
}

const KINDS = ["product", "bias", "replaced"] as const;

function tensorIn(tensor: JsonReader): MergedTensor {
  const from = tensor.optional("from")?.text();
  return {
    key: tensor.field("key").text(),
    ...(from === undefined ? {} : { from }),
    kind: tensor.field("kind").oneOf(KINDS, "kind of a change"),
    rank: tensor.field("rank").nullable((rank) => rank.size()),
    scale: tensor.field("scale").nullable((scale) => scale.number()),
    adapter: tensor.field("adapter").size(),
  };
}

export function pieceIn(piece: JsonReader): MergedPiece {
  const [high, low] = piece.field("sumOfSquares").list();
  if (high === undefined || low === undefined) return piece.fail("sum in two numbers");
  return {
    key: piece.field("key").text(),
    elements: piece.field("elements").size(),
    ranges: piece.field("ranges").list().map(rangeIn),
    sumOfSquares: [numberIn(high), numberIn(low)],
    maxChange: numberIn(piece.field("maxChange")),
    changed: piece.field("changed").size(),
  };
}

const rangeIn = (range: JsonReader): MergedRange => ({
  begin: range.field("begin").size(),
  end: range.field("end").size(),
  first: range
    .field("first")
    .list()
    .map((element) => {
      const [square, isChanged] = element.list();
      return square === undefined || isChanged === undefined
        ? element.fail("square and change")
        : ([numberIn(square), isChanged.boolean()] as const);
    }),
});

/** JSON writes null for what is not finite, as a base that holds infinities makes it. */
const numberIn = (reader: JsonReader): number => reader.nullable((each) => each.number()) ?? Number.NaN;

/** As one run reports it. @param parts what each of them saw */
export function joinedMerge(
  { adapters, tensors }: MergedReport,
  parts: readonly { readonly merged: readonly MergedPiece[] }[],
): MergeReport {
  const pieces = new Map<string, MergedPiece[]>(tensors.map(({ key }) => [key, []]));
  for (const { merged } of parts) for (const piece of merged) pieces.get(piece.key)?.push(piece);
  return {
    adapters,
    tensors: tensors.map((tensor) => ({ ...tensor, measured: measureOf(pieces.get(tensor.key) ?? []) })),
  };
}
