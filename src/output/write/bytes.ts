// Bytes of a file that is being written, by position.
import fs from "node:fs";
import { InputError } from "../../base/errors.ts";
import type { Checksums } from "../../formats/checksums.ts";
import { type OutputFile, partsWithin } from "../../formats/output.ts";
import type { FileProgress } from "../journal.ts";
import { writing } from "../staging-errors.ts";

/** Writes what writers of ranges left out, of what is known now. Throws Error where that is not enough. */
export function writeLeft(path: string, file: OutputFile, sums: Checksums): void {
  const fd = writing(path, () => fs.openSync(path, "r+"));
  try {
    for (const { part, begin } of partsWithin(file)) {
      if (part.kind !== "sums") continue;
      const bytes = sums.make(part);
      writing(path, () => writeAll(fd, bytes, begin));
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes a file ready for others to write to: as it was kept, or empty. */
export function makeReady(path: string, file: OutputFile, done: FileProgress | undefined): void {
  const fd = writing(path, () => fs.openSync(path, done === undefined ? "wx" : "r+"));
  try {
    if (done !== undefined) cut(path, fd, done.bytes, file.byteLength);
  } finally {
    fs.closeSync(fd);
  }
}

/** Takes away what is not in the journal. Throws InputError PARTIAL_CHANGED where less is there. */
export function cut(path: string, fd: number, bytes: number, most: number): void {
  if (bytes > most || fs.fstatSync(fd).size < bytes) throw partialChanged(path);
  writing(path, () => fs.ftruncateSync(fd, bytes));
}

export const partialChanged = (path: string): InputError =>
  new InputError("PARTIAL_CHANGED", `${path}: no longer holds what an earlier run wrote`, {
    file: path,
    help: "run again without --resume",
  });

export const cutShort = (path: string): InputError =>
  new InputError("PARTIAL_CHANGED", `${path}: no longer holds what this run wrote`, {
    file: path,
    help: "run again when nothing else writes to the folder",
  });

export function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}
