import { expect, test } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import { DiskFolder } from "../../src/formats/io/disk-folder.ts";
import { joinPieces, type Piece, type PiecedTensor } from "../../src/formats/pieces.ts";
import { rowMajorStrides } from "../../src/formats/torch/strided.ts";
import { StoredRecord } from "../../src/formats/zip/stored-record.ts";

/** A box that holds these bytes, in a file of that name. */
function piece(file: string, offsets: readonly number[], sizes: readonly number[], values: readonly number[]): Piece {
  const bytes = Uint8Array.from(values);
  const source = {
    name: file,
    byteLength: bytes.length,
    read: (at: number, target: Uint8Array) => target.set(bytes.subarray(at, at + target.length)),
  };
  const strided = {
    record: new StoredRecord(source, 0, bytes.length, null, { file }),
    offset: 0,
    strides: rowMajorStrides(sizes),
  };
  return { file, offsets, sizes, open: () => strided };
}

const joined = (t: Omit<PiecedTensor, "dtype">) =>
  joinPieces({
    path: "ranks",
    folder: new DiskFolder("ranks"),
    files: ["a", "b"],
    format: "pt",
    tensors: new Map([["t", { dtype: "U8", ...t }]]),
    others: [],
    opened: { check() {}, close() {} },
  });

function bytesOf(t: Omit<PiecedTensor, "dtype">, begin = 0, end?: number): number[] {
  const checkpoint = joined(t);
  const target = new Uint8Array((end ?? checkpoint.tensors.get("t")!.byteLength) - begin);
  checkpoint.read("t", begin, target);
  checkpoint.verify();
  return [...target];
}

function refused(work: () => unknown): InputError {
  try {
    work();
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

const columns = [piece("a", [0, 0], [2, 2], [1, 2, 4, 5]), piece("b", [0, 2], [2, 1], [3, 6])];

test("pieces are one tensor, cut along any axis, and read from any byte", () => {
  expect(bytesOf({ shape: [2, 3], pieces: columns })).toEqual([1, 2, 3, 4, 5, 6]);
  expect(bytesOf({ shape: [2, 3], pieces: columns }, 2, 5)).toEqual([3, 4, 5]);
  expect(joined({ shape: [2, 3], pieces: columns }).chunks).toBe(2);
});

test("pieces of a flat array are those of a tensor of any shape", () => {
  const flat = [piece("a", [0], [4], [1, 2, 3, 4]), piece("b", [4], [2], [5, 6])];
  expect(bytesOf({ shape: [2, 3], grid: [6], pieces: flat })).toEqual([1, 2, 3, 4, 5, 6]);
  expect(bytesOf({ shape: [], grid: [1], pieces: [piece("a", [0], [1], [9])] })).toEqual([9]);
});

test("a hole, and an overlap that is no replica, are refused when the pieces are joined", () => {
  expect(refused(() => joined({ shape: [2, 3], pieces: columns.slice(1) })).code).toBe("DCP_CHUNK_HOLE");
  expect(refused(() => joined({ shape: [2, 3], pieces: [] })).code).toBe("DCP_CHUNK_HOLE");
  const wider = [...columns, piece("c", [0, 1], [2, 2], [2, 3, 5, 6])];
  expect(refused(() => joined({ shape: [2, 3], pieces: wider })).code).toBe("DCP_CHUNK_OVERLAP");
});

test("replicas hold the same bytes, or are refused by tensor, file and element when they are read", () => {
  const same = [...columns, piece("c", [0, 0], [2, 2], [1, 2, 4, 5])];
  expect(bytesOf({ shape: [2, 3], pieces: same })).toEqual([1, 2, 3, 4, 5, 6]);
  const other = [...same, piece("d", [0, 0], [2, 2], [1, 2, 4, 7])];
  const error = refused(() => bytesOf({ shape: [2, 3], pieces: other }));
  expect(error.code).toBe("REPLICAS_DIFFER");
  expect(error.message).toContain(`d: tensor "t" is not the same as in a`);
  expect(error.details.found).toBe("another value at [1, 1]");
  expect(bytesOf({ shape: [2, 3], pieces: other }, 0, 4)).toEqual([1, 2, 3, 4]);
});
