// A folder that is on no disk, as one of the Hub is: names and bytes.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileMissing, notAFile } from "../../src/formats/io/file-faults.ts";
import type { EntryKind, Folder, Location, SourceFile } from "../../src/formats/io/folder.ts";

export type Files = ReadonlyMap<string, Uint8Array>;

/** All files below a folder of the disk. */
export function filesBelow(directory: string): Map<string, Uint8Array> {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return new Map(
    entries
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((path) => [path.slice(directory.length + 1), readFileSync(path)]),
  );
}

export class MemoryFolder implements Folder {
  /** Files that are open now. */
  readonly opened = new Set<SourceFile>();

  constructor(
    readonly path: string,
    private readonly files: Files,
    /** Called before a read. */
    private readonly onRead: (name: string, begin: number, end: number) => void = () => undefined,
  ) {}

  list(): readonly string[] {
    return [...new Set([...this.files.keys()].map((name) => name.split("/")[0]!))].sort();
  }

  kind(name: string): EntryKind | null {
    if (this.files.has(name)) return "file";
    return [...this.files.keys()].some((each) => each.startsWith(`${name}/`)) ? "folder" : null;
  }

  open(name: string, shown: string = this.pathOf(name)): SourceFile {
    const bytes = this.files.get(name);
    if (bytes === undefined) throw this.kind(name) === null ? fileMissing(shown) : notAFile(shown);
    const file: SourceFile = {
      name: shown,
      byteLength: bytes.length,
      version: `${bytes.length}`,
      read: (position, target) => {
        this.onRead(name, position, position + target.length);
        if (position + target.length > bytes.length) throw new RangeError(`${shown}: a read beyond the end`);
        target.set(bytes.subarray(position, position + target.length));
      },
      check: () => undefined,
      close: () => this.opened.delete(file),
    };
    this.opened.add(file);
    return file;
  }

  folder(name: string): Folder {
    const inside = [...this.files].filter(([each]) => each.startsWith(`${name}/`));
    const files = new Map(inside.map(([each, bytes]) => [each.slice(name.length + 1), bytes]));
    return new MemoryFolder(this.pathOf(name), files, (each, ...range) => this.onRead(`${name}/${each}`, ...range));
  }

  pathOf(name: string): string {
    return `${this.path}/${name}`;
  }

  diskPathOf(): null {
    return null;
  }

  /** The folder itself, or a file in it. */
  at(file: string | null = null): Location {
    return { path: file === null ? this.path : this.pathOf(file), folder: this, file };
  }
}
