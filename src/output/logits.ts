// What a run computed, as safetensors: `--save-logits`, and the golden that `--save-taps` writes.
import fs from "node:fs";
import { dirname } from "node:path";
import type { Dtype } from "../base/dtype.ts";
import { InputError } from "../base/errors.ts";
import { encodeHeaderText, headerBytes, placeTensors } from "../formats/safetensors/encode.ts";
import { failExists } from "./safe-target.ts";
import { writing } from "./staging-errors.ts";

interface Placed {
  readonly key: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Tensors written where they belong, in any order. */
class TensorFile {
  private readonly fd: number;
  private readonly temporary: string;
  private readonly begin: ReadonlyMap<string, number>;
  private isOpen = true;

  /** @throws InputError TARGET_EXISTS or NOT_FOUND; EnvironmentError where the disk does not take it */
  constructor(
    private readonly path: string,
    option: string,
    tensors: readonly Placed[],
  ) {
    if (fs.existsSync(path)) {
      failExists(path, `remove it, or give ${option} another name`, "a path that does not exist");
    }
    if (!fs.existsSync(dirname(path))) {
      throw new InputError("NOT_FOUND", `${path}: its directory does not exist`, {
        file: path,
        help: `create the directory, or give ${option} another name`,
      });
    }
    const placed = placeTensors(tensors);
    const header = headerBytes(encodeHeaderText(placed, null), path);
    this.begin = new Map(placed.map(({ key, begin }) => [key, header.length + begin]));
    this.temporary = `${path}.${process.pid}.tmp`;
    this.fd = writing(path, () => fs.openSync(this.temporary, "wx"));
    this.writeAt(0, header);
  }

  /** @param byteOffset within the tensor */
  write(key: string, bytes: Uint8Array, byteOffset = 0): void {
    this.writeAt(this.begin.get(key)! + byteOffset, bytes);
  }

  /** The file appears under its name only when complete. */
  finish(): void {
    this.close();
    writing(this.path, () => fs.renameSync(this.temporary, this.path));
  }

  discard(): void {
    this.close();
    fs.rmSync(this.temporary, { force: true });
  }

  private close(): void {
    if (this.isOpen) fs.closeSync(this.fd);
    this.isOpen = false;
  }

  private writeAt(position: number, bytes: Uint8Array): void {
    writing(this.path, () => {
      for (let done = 0; done < bytes.length; ) {
        done += fs.writeSync(this.fd, bytes, done, bytes.length - done, position + done);
      }
    });
  }
}

/**
 * Writes `input_ids` I64 [T], `logits_a` and `logits_b` F32 [T, V], a block of rows at a time; of several inputs one
 * behind the other, and `starts` I64 [inputs], the row where each begins.
 */
export class LogitFile {
  private readonly file: TensorFile;

  /** @throws InputError TARGET_EXISTS or NOT_FOUND; EnvironmentError where the disk does not take it */
  constructor(
    path: string,
    ids: readonly number[],
    private readonly vocab: number,
    starts: readonly number[],
  ) {
    const shape = [ids.length, vocab];
    this.file = new TensorFile(path, "--save-logits", [
      { key: "input_ids", dtype: "I64", shape: [ids.length] },
      { key: "logits_a", dtype: "F32", shape },
      { key: "logits_b", dtype: "F32", shape },
      ...(starts.length > 1 ? [{ key: "starts", dtype: "I64" as const, shape: [starts.length] }] : []),
    ]);
    this.file.write("input_ids", int64(ids));
    if (starts.length > 1) this.file.write("starts", int64(starts));
  }

  /** Rows from position `first` on. */
  write(first: number, a: Float32Array, b: Float32Array): void {
    const offset = first * this.vocab * 4;
    this.file.write("logits_a", bytesOf(a), offset);
    this.file.write("logits_b", bytesOf(b), offset);
  }

  finish(): void {
    this.file.finish();
  }

  discard(): void {
    this.file.discard();
  }
}

/** Writes a golden with hidden states: `input_ids` I64 [T], `logits` F32 [T, V], `hidden.layers.N` F32 [T, D]. */
export class GoldenFile {
  private readonly file: TensorFile;

  /**
   * @param layers values a token of the hidden states behind each layer, by its number
   * @throws InputError TARGET_EXISTS or NOT_FOUND; EnvironmentError where the disk does not take it
   */
  constructor(
    path: string,
    ids: readonly number[],
    private readonly vocab: number,
    layers: ReadonlyMap<number, number>,
  ) {
    this.file = new TensorFile(path, "--save-taps", [
      { key: "input_ids", dtype: "I64", shape: [ids.length] },
      { key: "logits", dtype: "F32", shape: [ids.length, vocab] },
      ...[...layers].map(([layer, width]) => ({
        key: hidden(layer),
        dtype: "F32" as const,
        shape: [ids.length, width],
      })),
    ]);
    this.file.write("input_ids", int64(ids));
  }

  /** All values of the hidden states behind a layer. */
  layer(layer: number, values: Float32Array | Float64Array): void {
    this.file.write(hidden(layer), bytesOf(Float32Array.from(values)));
  }

  /** Rows from position `first` on. */
  logits(first: number, rows: Float32Array): void {
    this.file.write("logits", bytesOf(rows), first * this.vocab * 4);
  }

  finish(): void {
    this.file.finish();
  }

  discard(): void {
    this.file.discard();
  }
}

const hidden = (layer: number): string => `hidden.layers.${layer}`;

const int64 = (values: readonly number[]): Uint8Array => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
