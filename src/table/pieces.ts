// Where the elements of a target tensor come from: strided copies out of its source tensors.

import type { MapSlot } from "./compile.ts";
import type { AxisTable } from "./dims/axes.ts";
import type { Block } from "./dims/dims.ts";
import { fillKey, type KeyPattern } from "./dims/key-pattern.ts";
import type { Piece, StridedCopy } from "./move.ts";
import type { Side } from "./rule.ts";
import { type CompiledTerm, layoutOf } from "./terms.ts";

type Loops = Pick<StridedCopy, "sizes" | "sourceStrides" | "targetStrides">;

/** How one part of a target tensor is found in a source tensor, the same for every index in their keys. */
interface Link {
  readonly sourceBlock: Block;
  readonly targetBlock: Block;
  readonly loops: Loops;
}

/** How a side of the conversion is stored, where its tensors declare dims for that. */
export interface Stored {
  /** Encoding of the tensor of a canonical key. */
  readonly encodingOf: (key: string) => string | undefined;
  /** Order of dims; "" is the canonical one. */
  readonly order: string;
}

/** Makes the pieces of target tensors; `from` is the source side. */
export class PieceMaker {
  private readonly links = new Map<CompiledTerm, Map<string, Link[]>>();

  constructor(
    private readonly axes: AxisTable,
    private readonly from: Side,
    private readonly source: Stored,
    private readonly target: Stored,
  ) {}

  /**
   * Pieces in ascending order of where they begin in the target.
   * @param keyOf the key in the source by the canonical one
   */
  piecesOf(slot: MapSlot, keyOf: (canonical: string) => string): Piece[] {
    const pieces: Piece[] = [];
    const targetEncoding = this.target.encodingOf(slot.key);
    for (const source of slot.map[this.from]) {
      this.eachKey(slot, source, (key, at, spread) => {
        const own = keyOf(key);
        for (const link of this.linksOf(slot, source, targetEncoding, this.source.encodingOf(key))) {
          const { sizes, sourceStrides, targetStrides } = link.loops;
          pieces.push({
            source: own,
            sourceOffset: offsetAt(link.sourceBlock, at, slot.term.key.axes),
            targetOffset: offsetAt(link.targetBlock, at, spread),
            sizes,
            sourceStrides,
            targetStrides,
          });
        }
      });
    }
    const filled = pieces.filter(({ sizes }) => !sizes.includes(0));
    return filled.length > 0 ? filled.sort((a, b) => a.targetOffset - b.targetOffset) : pieces.slice(0, 1);
  }

  /** Canonical keys of the tensors that a target tensor is made of; none if it is made of one. */
  mergedKeysOf(slot: MapSlot): string[] {
    const labels = new Set(slot.term.plain.blocks.map((block) => block.label));
    const keys: string[] = [];
    for (const source of slot.map[this.from])
      if (source.plain.blocks.some((block) => labels.has(block.label)))
        this.eachKey(slot, source, (key) => keys.push(key));
    return keys.length > 1 ? keys : [];
  }

  /** Source tensors of one term at the target's index; `spread` are the axes of their key that are dims of the target. */
  private eachKey(
    slot: MapSlot,
    { key: pattern }: CompiledTerm,
    visit: (key: string, at: Readonly<Record<string, number>>, spread: readonly string[]) => void,
  ): void {
    const at: Record<string, number> = {};
    for (const [i, axis] of slot.term.key.axes.entries()) at[axis] = slot.at[i]!;
    const spread = pattern.axes.filter((axis) => !slot.term.key.axes.includes(axis));
    this.axes.walk(spread, at, () => visit(this.keyOf(pattern, at), at, spread));
  }

  private keyOf(pattern: KeyPattern, at: Readonly<Record<string, number>>): string {
    return fillKey(
      pattern,
      pattern.axes.map((axis) => this.axes.index(axis, at[axis]!)),
    );
  }

  private linksOf(slot: MapSlot, source: CompiledTerm, targetEncoding = "", sourceEncoding = ""): Link[] {
    const id = `${slot.map[this.from].indexOf(source)} ${targetEncoding} ${sourceEncoding}`;
    let ofTerm = this.links.get(slot.term);
    if (ofTerm === undefined) {
      ofTerm = new Map();
      this.links.set(slot.term, ofTerm);
    }
    let links = ofTerm.get(id);
    if (links === undefined) {
      const target = layoutOf(slot.term, targetEncoding, this.target.order);
      links = link(target.blocks, layoutOf(source, sourceEncoding, this.source.order).blocks, this.axes.size);
      ofTerm.set(id, links);
    }
    return links;
  }
}

const offsetAt = (block: Block, at: Readonly<Record<string, number>>, axes: readonly string[]): number =>
  axes.reduce((offset, axis) => offset + at[axis]! * (block.strides.get(axis) ?? 0), block.offset);

function link(target: readonly Block[], source: readonly Block[], sizeOf: (axis: string) => number): Link[] {
  return target.flatMap((targetBlock) => {
    const sourceBlock = source.find((block) => block.label === targetBlock.label);
    if (sourceBlock === undefined) return [];
    const shared = [...targetBlock.strides.keys()].filter((axis) => sourceBlock.strides.has(axis));
    return [{ sourceBlock, targetBlock, loops: loopsOver(shared, sourceBlock, targetBlock, sizeOf) }];
  });
}

/** Loops in the order of the target; neighbours that step alike on both sides become one. */
function loopsOver(axes: readonly string[], source: Block, target: Block, sizeOf: (axis: string) => number): Loops {
  if (axes.some((axis) => sizeOf(axis) === 0)) return { sizes: [0], sourceStrides: [1], targetStrides: [1] };
  const sizes: number[] = [];
  const sourceStrides: number[] = [];
  const targetStrides: number[] = [];
  const ascending = axes
    .filter((axis) => sizeOf(axis) > 1)
    .sort((a, b) => target.strides.get(a)! - target.strides.get(b)!);
  for (const axis of ascending) {
    const [sourceStride, targetStride] = [source.strides.get(axis)!, target.strides.get(axis)!];
    const size = sizes[0];
    if (size !== undefined && sourceStride === size * sourceStrides[0]! && targetStride === size * targetStrides[0]!) {
      sizes[0] = size * sizeOf(axis);
      continue;
    }
    sizes.unshift(sizeOf(axis));
    sourceStrides.unshift(sourceStride);
    targetStrides.unshift(targetStride);
  }
  return sizes.length > 0
    ? { sizes, sourceStrides, targetStrides }
    : { sizes: [1], sourceStrides: [1], targetStrides: [1] };
}
