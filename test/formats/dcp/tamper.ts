// Good checkpoints, and the parts to spoil them with.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Dtype } from "../../../src/base/dtype.ts";
import { Checksums } from "../../../src/formats/checksums.ts";
import type { Payload } from "../../../src/formats/dcp/metadata.ts";
import { planDcp } from "../../../src/formats/dcp/plan.ts";
import { type PlannedTensor, writeMetadata } from "../../../src/formats/dcp/write-metadata.ts";
import { PickleWriter } from "../../../src/formats/pickle/write.ts";
import type { TargetTensor } from "../../../src/formats/pt/plan.ts";
import { layOutZip, planZip } from "../../../src/formats/zip/plan.ts";
import { writeOutput } from "./write-output.ts";

/** An input that has to be refused. */
export interface BrokenInput {
  readonly name: string;
  /** Code of the InputError. */
  readonly code: string;
  /** Writes it below an empty directory; gives the path to open. */
  readonly write: (directory: string) => string;
}

/** Bytes of a pickle: opcodes and text as strings of latin-1, numbers as bytes. */
export const pickleOf = (...parts: readonly (string | number | Uint8Array)[]): Buffer =>
  Buffer.concat(
    parts.map((part) =>
      typeof part === "string" ? Buffer.from(part, "latin1") : typeof part === "number" ? Buffer.from([part]) : part,
    ),
  );

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

export const GOOD: readonly TargetTensor[] = [
  { key: "a.weight", dtype: "F32", shape: [4, 3] },
  { key: "b.weight", dtype: "BF16", shape: [2, 2] },
];

export function payloadsOf(tensors: readonly TargetTensor[]): Map<string, Uint8Array> {
  const width = { F32: 4, BF16: 2 } as const;
  return new Map(
    tensors.map(({ key, dtype, shape }) => {
      const bytes = shape.reduce((product, n) => product * n, 1) * (dtype === "BF16" ? width.BF16 : width.F32);
      return [key, Uint8Array.from({ length: bytes }, (_, i) => (i * 37 + 11) % 127)];
    }),
  );
}

/** A good checkpoint of two ranks: `a.weight` in two chunks, one a file. */
export function writeGood(directory: string): string {
  writeOutput(directory, planDcp(GOOD, { ranks: 2 }), payloadsOf(GOOD));
  return directory;
}

export function writeFile(directory: string, name: string, bytes: Uint8Array): string {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, name), bytes);
  return directory;
}

/** Rewrites a file of a good checkpoint. */
export function edit(directory: string, name: string, change: (bytes: Buffer) => Uint8Array): string {
  writeFileSync(join(directory, name), change(readFileSync(join(directory, name))));
  return directory;
}

/** A folder with one payload, `a.weight` of shape [4, 3] at [0, 0], described by what `change` makes of its metadata. */
export function withMetadata(
  directory: string,
  change: (tensor: PlannedTensor, payload: Payload) => Partial<PlannedTensor> | readonly PlannedTensor[],
): string {
  const [tensor] = GOOD;
  const files = planDcp([tensor!]);
  writeOutput(directory, files, payloadsOf(GOOD));
  const payload = { file: "__0_0.distcp", offset: 0, length: files[0]!.byteLength };
  const good: PlannedTensor = { ...tensor!, chunks: [{ offsets: [0, 0], sizes: [4, 3], payload }] };
  const changed = change(good, payload);
  const tensors = Array.isArray(changed) ? changed : [{ ...good, ...changed }];
  return writeFile(directory, ".metadata", writeMetadata(tensors));
}

/** A folder whose metadata is good and whose only payload, for `a.weight` of F32 [4, 3], is `zip`. */
export function withPayload(directory: string, zip: Uint8Array): string {
  writeFile(directory, "__0_0.distcp", zip);
  const payload = { file: "__0_0.distcp", offset: 0, length: zip.length };
  const tensor = { ...GOOD[0]!, chunks: [{ offsets: [0, 0], sizes: [4, 3], payload }] };
  return writeFile(directory, ".metadata", writeMetadata([tensor]));
}

/** A zip of stored records, as bytes. */
export function zipOf(records: Readonly<Record<string, Uint8Array | string>>): Buffer {
  const layout = layOutZip(Object.entries(records).map(([name, bytes]) => ({ name, bytes: Buffer.from(bytes) })));
  const parts = planZip(layout, []);
  const sums = new Checksums({ parts });
  return Buffer.concat(
    parts.map((part) => {
      if (part.kind !== "bytes" && part.kind !== "sums") throw new Error("no tensors here");
      return part.kind === "bytes" ? part.bytes : sums.make(part);
    }),
  );
}

export interface TensorPickle {
  readonly shape?: readonly number[];
  readonly strides?: readonly number[];
  readonly offset?: number;
  readonly dtype?: Dtype;
  readonly storageClass?: string;
  readonly storageKey?: string;
  readonly count?: number;
  readonly metadata?: (w: PickleWriter) => void;
}

/** `_rebuild_tensor_v2` of F32 [4, 3] with any part replaced. */
export function tensorPickle(parts: TensorPickle = {}): Uint8Array {
  const w = new PickleWriter();
  writeTensor(w, parts);
  return w.end();
}

export function writeTensor(w: PickleWriter, parts: TensorPickle): void {
  const args = [
    () =>
      w.persistent(() =>
        w.tuple(
          () => w.text("storage"),
          () => w.global(parts.storageClass ?? "torch FloatStorage"),
          () => w.text(parts.storageKey ?? "0"),
          () => w.text("cpu"),
          () => w.int(parts.count ?? 12),
        ),
      ),
    () => w.int(parts.offset ?? 0),
    () => w.ints(parts.shape ?? [4, 3]),
    () => w.ints(parts.strides ?? [3, 1]),
    () => w.bool(false),
    () => w.call("collections OrderedDict"),
  ];
  const { metadata } = parts;
  if (metadata !== undefined) args.push(() => metadata(w));
  w.call("torch._utils _rebuild_tensor_v2", ...args);
}

/** A payload of F32 [4, 3] with the given pickle and data. */
export const payloadZip = (pickle: Uint8Array, data: Uint8Array = new Uint8Array(48)): Buffer =>
  zipOf({
    "archive/data.pkl": pickle,
    "archive/byteorder": "little",
    "archive/data/0": data,
    "archive/version": "3\n",
  });
