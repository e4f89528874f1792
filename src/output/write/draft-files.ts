// Files that several threads write to, each of them to other bytes.
import fs from "node:fs";
import { join } from "node:path";
import type { OutputFile } from "../../formats/output.ts";
import { writing } from "../staging-errors.ts";
import { writeAll } from "./bytes.ts";

/** Descriptors that are open at a time. */
const MOST_OPEN = 8;

export class DraftFiles {
  readonly #out: string;
  readonly #files: readonly OutputFile[];
  /** By index, the one that was used last behind the others. */
  readonly #open = new Map<number, number>();

  constructor(out: string, files: readonly OutputFile[]) {
    this.#out = out;
    this.#files = files;
  }

  /** Throws EnvironmentError where the disk does not take it. */
  write(index: number, position: number, bytes: Uint8Array): void {
    const path = join(this.#out, this.#files[index]!.name);
    writing(path, () => writeAll(this.#descriptor(index, path), bytes, position));
  }

  #descriptor(index: number, path: string): number {
    const fd = this.#open.get(index) ?? fs.openSync(path, "r+");
    this.#open.delete(index);
    this.#open.set(index, fd);
    if (this.#open.size > MOST_OPEN) {
      const [oldest] = this.#open;
      fs.closeSync(oldest![1]);
      this.#open.delete(oldest![0]);
    }
    return fd;
  }
}
