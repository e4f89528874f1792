// Positional reads of files, with a bounded number of open descriptors: a checkpoint of many ranks or shards has more
// files than a process may hold open.
import { type BigIntStats, closeSync, fstatSync, openSync, readSync, statfsSync, statSync } from "node:fs";
import { type SeenFile, witness } from "../../base/witness.ts";
import { fileChanged, fileFault, isAbsence, notAFile, orRefuse } from "./file-faults.ts";
import type { SourceFile } from "./folder.ts";

/** macOS allows a process 256 descriptors by default. */
const OPEN_LIMIT = 64;
/** readSync takes a length below 2^31. */
const READ_LIMIT = 1 << 30;

/** Descriptors that are open at a time. A file keeps its own until others need it: then it is opened and checked anew. */
export class FilePool {
  private readonly open = new Set<PooledFile>();
  private uses = 0;

  constructor(private readonly limit = OPEN_LIMIT) {}

  /**
   * @param name what error messages call the file
   * @throws InputError FILE_MISSING, NOT_A_FILE; EnvironmentError FILE_UNREADABLE
   */
  file(path: string, name: string): SourceFile {
    // Before it is opened: opening a pipe would wait for its writer.
    const stats = orRefuse(name, () => statSync(path, { bigint: true }));
    if (!stats.isFile()) throw notAFile(name);
    return new PooledFile(this, path, name, stats);
  }

  /** Marks a file as used last. */
  use(): number {
    this.uses += 1;
    return this.uses;
  }

  admit(file: PooledFile): void {
    while (this.open.size >= this.limit) {
      let oldest: PooledFile | undefined;
      for (const each of this.open) if (oldest === undefined || each.lastUse < oldest.lastUse) oldest = each;
      oldest?.release();
    }
    this.open.add(file);
  }

  dismiss(file: PooledFile): void {
    this.open.delete(file);
  }
}

const NOT_OPEN = -1;

class PooledFile implements SourceFile {
  readonly at = 0;
  readonly byteLength: number;
  readonly version: string;
  private readonly modified: Date;
  /** When the file was last used, counted over all uses of the pool's files. */
  lastUse = 0;
  private descriptor = NOT_OPEN;
  private isClosed = false;
  private readonly witness = witness();
  private readonly seen: SeenFile | undefined;

  constructor(
    private readonly pool: FilePool,
    private readonly path: string,
    readonly name: string,
    stats: BigIntStats,
  ) {
    this.byteLength = Number(stats.size);
    this.version = versionOf(path, stats);
    this.modified = stats.mtime;
    this.seen = this.witness?.opens(path, this.byteLength, this.version);
  }

  read(position: number, target: Uint8Array): void {
    if (this.descriptor === NOT_OPEN) this.acquire();
    this.lastUse = this.pool.use();
    for (let done = 0; done < target.length; ) {
      const n = this.readSome(position + done, target, done);
      if (n === 0) {
        const [expected, found] = [`${position + target.length} bytes`, `${position + done} bytes`];
        throw fileChanged(this.name, "the file became shorter while it was read", expected, found);
      }
      done += n;
    }
    this.seen?.covers(target.length);
  }

  private readSome(position: number, target: Uint8Array, begin: number): number {
    try {
      return readSync(this.descriptor, target, begin, Math.min(target.length - begin, READ_LIMIT), position);
    } catch (cause) {
      throw fileFault(this.name, `reading failed at byte ${position}`, cause);
    }
  }

  private acquire(): void {
    if (this.isClosed) throw new Error(`${this.name} was read after it was closed`);
    this.pool.admit(this);
    try {
      this.descriptor = orRefuse(this.name, () => openSync(this.path, "r"));
      this.compare(fstatSync(this.descriptor, { bigint: true }));
    } catch (error) {
      this.release();
      throw error;
    }
  }

  check(): void {
    try {
      // What is open is looked at itself: a file that was replaced under its name is still the one that is read.
      const isOpen = this.descriptor !== NOT_OPEN;
      this.compare(isOpen ? fstatSync(this.descriptor, { bigint: true }) : statSync(this.path, { bigint: true }));
    } catch (cause) {
      if (!isAbsence(cause)) throw cause; // What was read of a file that is gone now was right.
    }
  }

  private compare(found: BigIntStats): void {
    if (versionOf(this.path, found) === this.version) return;
    const expected = describe(this.byteLength, this.modified);
    throw fileChanged(this.name, "the file has changed", expected, describe(Number(found.size), found.mtime));
  }

  /** Closes the descriptor; the next read opens the file again. */
  release(): void {
    if (this.descriptor !== NOT_OPEN) closeSync(this.descriptor);
    this.descriptor = NOT_OPEN;
    this.pool.dismiss(this);
  }

  close(): void {
    this.release();
    if (!this.isClosed && this.seen !== undefined) this.witness?.closes(this.seen);
    this.isClosed = true;
  }
}

/** Magic numbers of statfs(2): FUSE, SMB, CIFS, 9p. They may number a file anew whenever it is looked at. */
const UNNUMBERED: ReadonlySet<number> = new Set([0x65735546, 0xfe534d42, 0xff534d42, 0x01021997]);
const keepsInodes = new Map<bigint, boolean>();

/** The version of the file that has this name now. Throws what the file system does. */
export const versionAt = (path: string): string => versionOf(path, statSync(path, { bigint: true }));

/** Size, time, and on file systems that keep it, the inode: a file with both of another one is still another. */
function versionOf(path: string, { dev, ino, size, mtimeNs }: BigIntStats): string {
  let keeps = keepsInodes.get(dev);
  if (keeps === undefined) {
    keeps = process.platform !== "linux" || !UNNUMBERED.has(statfsSync(path).type);
    keepsInodes.set(dev, keeps);
  }
  return `${size}:${mtimeNs}${keeps ? `:${ino}` : ""}`;
}

const describe = (size: number, modified: Date): string => `${size} bytes of ${modified.toISOString()}`;
