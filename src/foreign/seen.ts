// What can be seen of a file that is no checkpoint: its name, its first bytes, what a zip holds.
import { readBytes } from "../formats/io/byte-source.ts";
import type { Folder } from "../formats/io/folder.ts";

export interface SeenFile {
  readonly name: string;
  /** The first 512 bytes, or all. */
  readonly head: Buffer;
  /** The same as text, one character a byte. */
  readonly text: string;
  /** Names of a zip's entries, as far as its directory can be read; empty for other files. */
  readonly entries: () => readonly string[];
}

const HEAD_BYTES = 512;

/** Null where the file cannot be read. */
export function seen(folder: Folder, name: string): SeenFile | null {
  const head = endsOf(folder, name, HEAD_BYTES, 0)?.head;
  if (head === undefined) return null;
  return { name, head, text: head.toString("latin1"), entries: () => zipEntries(folder, name) };
}

/** Enough for the directory of some thousand entries. */
const TAIL_BYTES = 1 << 18;
const ENTRY = Buffer.from("PK\u0001\u0002", "latin1");
const ENTRY_BYTES = 46;

/** Told by the signatures of entries at the file's end, so that any writer's zip shows its names. */
function zipEntries(folder: Folder, name: string): readonly string[] {
  const tail = endsOf(folder, name, 0, TAIL_BYTES)?.tail ?? Buffer.alloc(0);
  const names: string[] = [];
  for (let at = tail.indexOf(ENTRY); at >= 0; at = tail.indexOf(ENTRY, at + ENTRY_BYTES)) {
    if (at + ENTRY_BYTES > tail.length) break;
    names.push(tail.subarray(at + ENTRY_BYTES, at + ENTRY_BYTES + tail.readUInt16LE(at + 28)).toString("utf8"));
  }
  return names;
}

function endsOf(folder: Folder, name: string, first: number, last: number): { head: Buffer; tail: Buffer } | null {
  try {
    if (folder.kind(name) !== "file") return null;
    const file = folder.open(name);
    try {
      const size = file.byteLength;
      const tail = Math.min(last, size);
      return { head: readBytes(file, 0, Math.min(first, size)), tail: readBytes(file, size - tail, tail) };
    } finally {
      file.close();
    }
  } catch {
    // What cannot be read is told by whoever wanted it.
    return null;
  }
}
