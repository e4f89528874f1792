import { boxesOfRange, copyBox, rowMajorStrides, type StridedRecord } from "./strided.ts";

/** A box of a tensor and where its elements lie; `open` is called at the first read of the chunk. */
export interface TensorChunk {
  readonly offsets: readonly number[];
  readonly sizes: readonly number[];
  readonly open: () => StridedRecord;
}

/** A tensor in one or more chunks, readable by any row-major byte range. */
export class ChunkedTensor {
  private readonly shape: readonly number[];
  /** Chunks that hold elements, by their first offset. */
  private readonly chunks: readonly TensorChunk[];
  /** Largest extent of a chunk along the first axis. */
  private readonly reach: number;

  /** @param chunks cover every element exactly once */
  constructor(
    shape: readonly number[],
    private readonly width: number,
    chunks: readonly TensorChunk[],
  ) {
    this.shape = shape.length === 0 ? [1] : shape;
    this.chunks = chunks
      .filter((chunk) => chunk.sizes.every((n) => n > 0))
      .map((chunk) => (shape.length === 0 ? { ...chunk, offsets: [0], sizes: [1] } : chunk))
      .sort((a, b) => a.offsets[0]! - b.offsets[0]!);
    this.reach = this.chunks.reduce((most, chunk) => Math.max(most, chunk.sizes[0]!), 0);
  }

  /** Reads the row-major bytes [begin, begin + target.length), which the caller knows to lie inside. */
  read(begin: number, target: Uint8Array): void {
    const { width } = this;
    const end = begin + target.length;
    const first = Math.ceil(begin / width);
    const last = Math.floor(end / width);
    if (last < first) {
      this.readPart(last, begin % width, target);
      return;
    }
    const head = first * width - begin;
    if (head > 0) this.readPart(first - 1, width - head, target.subarray(0, head));
    this.readElements(first, last, target.subarray(head, target.length - (end - last * width)));
    if (end > last * width) this.readPart(last, 0, target.subarray(last * width - begin));
  }

  /** Bytes of one element. */
  private readPart(element: number, from: number, target: Uint8Array): void {
    const whole = new Uint8Array(this.width);
    this.readElements(element, element + 1, whole);
    target.set(whole.subarray(from, from + target.length));
  }

  private readElements(begin: number, end: number, target: Uint8Array): void {
    boxesOfRange(this.shape, begin, end, (corner, sizes, first) => {
      const to = rowMajorStrides(sizes);
      for (let i = this.firstChunk(corner[0]!); i < this.chunks.length; i++) {
        const chunk = this.chunks[i]!;
        if (chunk.offsets[0]! >= corner[0]! + sizes[0]!) break;
        this.readOverlap(chunk, corner, sizes, to, target, first - begin);
      }
    });
  }

  /** The first chunk that may reach the given row. */
  private firstChunk(row: number): number {
    let [low, high] = [0, this.chunks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.chunks[middle]!.offsets[0]! + this.reach <= row) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Copies what a chunk has of a box; `to` are the strides of the box in the target, where it begins at `targetAt`. */
  private readOverlap(
    chunk: TensorChunk,
    corner: readonly number[],
    sizes: readonly number[],
    to: readonly number[],
    target: Uint8Array,
    targetAt: number,
  ): void {
    const low = corner.map((at, axis) => Math.max(at, chunk.offsets[axis]!));
    const extent = low.map(
      (at, axis) => Math.min(corner[axis]! + sizes[axis]!, chunk.offsets[axis]! + chunk.sizes[axis]!) - at,
    );
    if (extent.some((n) => n <= 0)) return;
    const { record, offset, strides } = chunk.open();
    let from = offset;
    let at = targetAt;
    const axes = extent.map((size, axis) => {
      from += (low[axis]! - chunk.offsets[axis]!) * (strides[axis] ?? 1);
      at += (low[axis]! - corner[axis]!) * to[axis]!;
      return { size, from: strides[axis] ?? 1, to: to[axis]! };
    });
    copyBox(record, from, axes, this.width, target, at);
  }
}
