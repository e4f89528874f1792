import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { Checksums } from "../../../src/formats/checksums.ts";
import { lengthOf, type OutputFile, partsWithin } from "../../../src/formats/output.ts";

/** Bytes of the tensors of a plan, whole and row-major. */
export type Payloads = ReadonlyMap<string, Uint8Array>;

/** Writes a plan to disk in the order of its parts, in pieces of at most `step` bytes. */
export function writeOutput(directory: string, files: readonly OutputFile[], payloads: Payloads, step = 1 << 16): void {
  for (const file of files) {
    const path = join(directory, file.name);
    mkdirSync(dirname(path), { recursive: true });
    const fd = openSync(path, "w");
    let written = 0;
    const sums = new Checksums(file);
    for (const { part, sumBegin } of partsWithin(file)) {
      if (part.kind === "tensor") {
        const bytes = payloads.get(part.key)!;
        for (let at = part.begin; at < part.end; at += step) {
          const chunk = bytes.subarray(at, Math.min(at + step, part.end));
          if (part.sum !== undefined) sums.update(part.sum, sumBegin + at - part.begin, chunk);
          written += writeSync(fd, chunk);
        }
      } else {
        if (part.kind !== "bytes" && part.kind !== "sums") throw new Error(`${part.kind}: no part of a container`);
        const bytes = part.kind === "bytes" ? part.bytes : sums.make(part);
        if (bytes.length !== lengthOf(part)) throw new Error("a part has another length");
        written += writeSync(fd, bytes);
      }
    }
    closeSync(fd);
    if (written !== file.byteLength)
      throw new Error(`${file.name}: ${written} bytes written, ${file.byteLength} planned`);
  }
}
