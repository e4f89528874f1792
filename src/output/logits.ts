// `--save-logits`: what the metrics were computed from, as safetensors.
import fs from "node:fs";
import { dirname } from "node:path";
import { InputError } from "../base/errors.ts";
import { encodeHeaderText, headerBytes, placeTensors } from "../formats/safetensors/encode.ts";
import { failExists } from "./safe-target.ts";
import { writing } from "./staging-errors.ts";

/**
 * Writes `input_ids` I64 [T], `logits_a` and `logits_b` F32 [T, V], a block of rows at a time; of several inputs one
 * behind the other, and `starts` I64 [inputs], the row where each begins.
 */
export class LogitFile {
  private readonly fd: number;
  private readonly temporary: string;
  private readonly begin: ReadonlyMap<string, number>;
  private readonly vocab: number;
  private isOpen = true;

  /** @throws InputError TARGET_EXISTS or NOT_FOUND; EnvironmentError where the disk does not take it */
  constructor(
    private readonly path: string,
    ids: readonly number[],
    vocab: number,
    starts: readonly number[],
  ) {
    if (fs.existsSync(path)) {
      failExists(path, "remove it, or give --save-logits another name", "a path that does not exist");
    }
    if (!fs.existsSync(dirname(path))) {
      throw new InputError("NOT_FOUND", `${path}: its directory does not exist`, {
        file: path,
        help: "create the directory, or give --save-logits another name",
      });
    }
    const shape = [ids.length, vocab];
    const placed = placeTensors([
      { key: "input_ids", dtype: "I64", shape: [ids.length] },
      { key: "logits_a", dtype: "F32", shape },
      { key: "logits_b", dtype: "F32", shape },
      ...(starts.length > 1 ? [{ key: "starts", dtype: "I64" as const, shape: [starts.length] }] : []),
    ]);
    const header = headerBytes(encodeHeaderText(placed, null), path);
    this.begin = new Map(placed.map(({ key, begin }) => [key, header.length + begin]));
    this.vocab = vocab;
    this.temporary = `${path}.${process.pid}.tmp`;
    this.fd = writing(path, () => fs.openSync(this.temporary, "wx"));
    this.writeAt(0, header);
    this.writeAt(this.begin.get("input_ids")!, int64(ids));
    if (starts.length > 1) this.writeAt(this.begin.get("starts")!, int64(starts));
  }

  /** Rows from position `first` on. */
  write(first: number, a: Float32Array, b: Float32Array): void {
    const offset = first * this.vocab * 4;
    this.writeAt(this.begin.get("logits_a")! + offset, bytesOf(a));
    this.writeAt(this.begin.get("logits_b")! + offset, bytesOf(b));
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

const int64 = (values: readonly number[]): Uint8Array => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
