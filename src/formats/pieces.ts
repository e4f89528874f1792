// One checkpoint out of pieces in several files: what each rank of a trainer saved of every tensor. The ledger of such a
// join is here: the pieces cover each element once, and what several ranks saved holds the same bytes in all of them.
import { bitsOf, byteLengthOf, type Dtype } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import type { Checkpoint, TensorInfo } from "./checkpoint.ts";
import { type Box, checkTiling } from "./dcp/tiling.ts";
import { ChunkedTensor } from "./torch/chunked-tensor.ts";
import type { StridedRecord } from "./torch/strided.ts";

/** A box of a tensor, and where its elements lie. */
export interface Piece extends Box {
  /** Name of its file, for messages. */
  readonly file: string;
  /** Called at each read: it opens once, and gives the same again. */
  readonly open: () => StridedRecord;
}

export interface PiecedTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** The array that the pieces are boxes of, where it is another than the tensor's: a flat one of the same elements in order. */
  readonly grid?: readonly number[];
  /** Those of one box are replicas. */
  readonly pieces: readonly Piece[];
}

/** What joined pieces have of the checkpoint that they are parts of. */
export interface PiecedCheckpoint
  extends Omit<Checkpoint, "tensors" | "chunks" | "read" | "verify" | "close" | "ranks" | "safetensors"> {
  readonly tensors: ReadonlyMap<string, PiecedTensor>;
  /** The files: whether they are still those of opening, and closing them. */
  readonly opened: { check(): void; close(): void };
}

/** @throws InputError of `checkTiling` where pieces leave a hole or overlap; while reading, REPLICAS_DIFFER */
export function joinPieces({ tensors: pieced, opened, ...about }: PiecedCheckpoint): Checkpoint {
  const { path } = about;
  const tensors = new Map<string, TensorInfo>();
  const data = new Map<string, JoinedTensor>();
  for (const [key, tensor] of pieced) {
    const { dtype, shape } = tensor;
    tensors.set(key, { key, dtype, shape, byteLength: byteLengthOf(dtype, shape) });
    data.set(key, new JoinedTensor(key, tensor, path));
  }
  return {
    ...about,
    tensors,
    chunks: [...pieced.values()].reduce((sum, { pieces }) => sum + pieces.length, 0),
    read(key, begin, target) {
      const [info, tensor] = [tensors.get(key), data.get(key)];
      if (info === undefined || tensor === undefined)
        throw new RangeError(`no tensor ${JSON.stringify(key)} in ${path}`);
      if (begin < 0 || begin + target.length > info.byteLength) throw new RangeError(`a read beyond the end of ${key}`);
      tensor.read(begin, target);
    },
    verify(keys = tensors.keys()) {
      for (const key of keys) for (const piece of pieced.get(key)?.pieces ?? []) piece.open().record.verify();
      opened.check();
    },
    close: () => opened.close(),
  };
}

/** Bytes of replicas that are compared at once. */
const COMPARED_BYTES = 1 << 20;

let compared: Buffer | undefined;

class JoinedTensor {
  private readonly width: number;
  private readonly grid: readonly number[];
  /** For each box, the pieces that hold it. */
  private readonly holders: readonly (readonly Piece[])[];
  private readonly first: ChunkedTensor;
  /** The same tensor out of the second piece of each box, and so on; a box with fewer pieces gives its last one again. */
  private readonly replicas: readonly ChunkedTensor[];

  constructor(
    private readonly key: string,
    { dtype, shape, grid = shape, pieces }: PiecedTensor,
    path: string,
  ) {
    const byBox = new Map<string, Piece[]>();
    for (const piece of pieces) {
      const box = `${piece.offsets}:${piece.sizes}`;
      const holders = byBox.get(box);
      if (holders === undefined) byBox.set(box, [piece]);
      else holders.push(piece);
    }
    this.holders = [...byBox.values()];
    this.grid = grid;
    this.width = bitsOf(dtype) / 8;
    const layer = (i: number) => this.holders.map((holders) => holders[Math.min(i, holders.length - 1)]!);
    checkTiling(grid, layer(0), { file: path, tensor: key });
    const layers = this.holders.reduce((most, holders) => Math.max(most, holders.length), 0);
    const joined = (i: number) => new ChunkedTensor(grid, this.width, layer(i));
    this.first = joined(0);
    this.replicas = Array.from({ length: Math.max(0, layers - 1) }, (_, i) => joined(i + 1));
  }

  read(begin: number, target: Uint8Array): void {
    this.first.read(begin, target);
    for (const [i, replica] of this.replicas.entries()) this.compare(replica, i + 1, begin, target);
  }

  private compare(replica: ChunkedTensor, layer: number, begin: number, target: Uint8Array): void {
    compared ??= Buffer.alloc(COMPARED_BYTES);
    for (let done = 0; done < target.length; done += COMPARED_BYTES) {
      const expected = target.subarray(done, done + COMPARED_BYTES);
      const found = compared.subarray(0, expected.length);
      replica.read(begin + done, found);
      if (found.equals(expected)) continue;
      throw this.replicasDiffer(layer, begin + done + found.findIndex((byte, i) => byte !== expected[i]));
    }
  }

  private replicasDiffer(layer: number, byte: number): InputError {
    const at = coordinatesOf(Math.floor(byte / this.width), this.grid);
    const holders = this.holders.find(([piece]) => piece !== undefined && isInside(piece, at)) ?? [];
    const [first, other] = [holders[0]?.file ?? "", holders[layer]?.file ?? ""];
    return new InputError(
      "REPLICAS_DIFFER",
      `${other}: tensor ${JSON.stringify(this.key)} is not the same as in ${first}, though both hold the same part of it`,
      {
        tensor: this.key,
        file: other,
        expected: `the bytes of ${first}`,
        found: `another value at [${at.join(", ")}]`,
        help: "the files are of different saves, or one is damaged: copy all of them again; if the ranks did diverge in training, the save has no one model",
      },
    );
  }
}

const isInside = ({ offsets, sizes }: Box, at: readonly number[]): boolean =>
  at.every((n, axis) => n >= offsets[axis]! && n < offsets[axis]! + sizes[axis]!);

function coordinatesOf(element: number, grid: readonly number[]): number[] {
  const at: number[] = new Array(grid.length);
  let rest = element;
  for (let axis = grid.length - 1; axis >= 0; axis--) {
    at[axis] = rest % grid[axis]!;
    rest = Math.floor(rest / grid[axis]!);
  }
  return at;
}
