// Rows of zeros behind the vocabulary of a target, as the trainer that is to load it wants them.
import { UsageError } from "../../base/errors.ts";
import type { Layout } from "../../family/layout.ts";
import type { MappedTensor, Mapping } from "../../views/mapping.ts";
import { type TensorSource, tensorInfo } from "../../views/tensor-source.ts";

/** Key of the zeros: no checkpoint has a tensor of this name. */
const zerosOf = (key: string): string => `\0padding of ${key}`;

/** @param multiple of which the rows of embedding and output layer are to be a multiple; undefined where they stay as they are */
export function withPaddedRows(mapping: Mapping, to: Layout, multiple: number | undefined): Mapping {
  if (multiple === undefined) return mapping;
  const padded = to.side === "native" ? [...(to.padded?.() ?? [])] : [];
  if (padded.length === 0) throw meaningless(to.name);
  const zeros = new Map<string, MappedTensor["info"]>();
  const tensors = new Map(mapping.tensors);
  for (const [key] of padded) {
    const tensor = mapping.tensors.get(key);
    const [rows = 0, width = 0] = tensor?.info.shape ?? [];
    const all = Math.ceil(rows / multiple) * multiple;
    if (tensor === undefined || all === rows) continue;
    const [first] = tensor.sources;
    const source = first === undefined ? undefined : mapping.source.tensors.get(first);
    const zero = tensorInfo(zerosOf(key), source?.dtype ?? tensor.info.dtype, [all - rows, width]);
    zeros.set(zero.key, zero);
    tensors.set(key, withRows(tensor, zero.key, rows, all, width));
  }
  const { source } = mapping;
  const overlay: TensorSource = {
    tensors: new Map([...source.tensors, ...zeros]),
    read: (key, begin, target) => {
      if (zeros.has(key)) target.fill(0);
      else source.read(key, begin, target);
    },
  };
  return { ...mapping, source: overlay, tensors };
}

function withRows(
  { info, move, sources, ...rest }: MappedTensor,
  zeros: string,
  rows: number,
  all: number,
  width: number,
): MappedTensor {
  const shape = [all, width];
  const piece = {
    source: zeros,
    sourceOffset: 0,
    targetOffset: rows * width,
    sizes: [(all - rows) * width],
    sourceStrides: [1],
    targetStrides: [1],
  };
  return {
    ...rest,
    info: tensorInfo(info.key, info.dtype, shape),
    move: { ...move, key: move.key, shape, pieces: [...move.pieces, piece], rule: move.rule },
    sources: [...sources, zeros],
  };
}

const meaningless = (layout: string): UsageError =>
  new UsageError("OPTION_MEANINGLESS", `--make-vocab-size-divisible-by: ${layout} does not pad the vocabulary`, {
    help: "leave it out, or write a layout that does: --to megatron",
  });
