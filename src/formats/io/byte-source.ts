// Positional reads of files, through a bounded number of descriptors: a checkpoint of many ranks has more files than a
// process may hold open.
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { EnvironmentError } from "../../base/errors.ts";
import { refuse } from "./refuse.ts";

/** Bytes that can be read by position. */
export interface ByteSource {
  /** For error messages. */
  readonly name: string;
  readonly byteLength: number;
  /** Fills `target` with the bytes from `position`. Throws InputError where the file no longer has them. */
  read(position: number, target: Uint8Array): void;
}

/** macOS allows a process 256 descriptors by default. */
const OPEN_LIMIT = 64;
/** readSync takes a length below 2^31. */
const READ_LIMIT = 1 << 30;

export class FilePool {
  /** Descriptors by path, least recently used first. */
  private readonly open = new Map<string, number>();
  private closed = false;

  /** @param name what error messages call the file */
  source(path: string, name: string): ByteSource {
    const byteLength = this.sizeOf(path, name);
    return { name, byteLength, read: (position, target) => this.read(path, name, position, target) };
  }

  close(): void {
    this.closed = true;
    for (const fd of this.open.values()) closeSync(fd);
    this.open.clear();
  }

  private sizeOf(path: string, name: string): number {
    // Before it is opened: opening a pipe would wait for its writer.
    const stat = orRefuse(name, () => statSync(path));
    if (!stat.isFile()) throw refuse({ file: name }, "NOT_A_FILE", "is not a regular file");
    return stat.size;
  }

  private read(path: string, name: string, position: number, target: Uint8Array): void {
    const fd = this.descriptor(path, name);
    for (let done = 0; done < target.length; ) {
      const n = readSync(fd, target, done, Math.min(target.length - done, READ_LIMIT), position + done);
      if (n === 0) {
        throw refuse(
          { file: name },
          "FILE_ENDS_EARLY",
          `ends at byte ${position + done}, before the data it should hold`,
        );
      }
      done += n;
    }
  }

  private descriptor(path: string, name: string): number {
    if (this.closed) throw new Error(`${name} was read after its checkpoint was closed`);
    let fd = this.open.get(path);
    if (fd === undefined) {
      for (const [oldest, old] of this.open) {
        if (this.open.size < OPEN_LIMIT) break;
        closeSync(old);
        this.open.delete(oldest);
      }
      fd = orRefuse(name, () => openSync(path, "r"));
    } else this.open.delete(path);
    this.open.set(path, fd);
    return fd;
  }
}

/** What a call of the file system gives, with its failures in words. */
export function orRefuse<T>(name: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw refuse({ file: name }, "FILE_MISSING", "is missing", {
        help: "copy the whole checkpoint again; a part of it is not there",
        cause,
      });
    }
    throw new EnvironmentError("FILE_UNREADABLE", `${name}: cannot be opened (${code})`, {
      file: name,
      help: "check the permissions of the file",
      cause,
    });
  }
}

/** A part of a source, with positions of its own. */
export function subSource(source: ByteSource, begin: number, byteLength: number): ByteSource {
  return { name: source.name, byteLength, read: (position, target) => source.read(begin + position, target) };
}

/**
 * Calls `use` with a source whose first and last `byteLength` bytes are read once, however often they are asked for.
 * What `use` keeps of it reads from `source` again.
 */
export function withBufferedEnds<T>(source: ByteSource, byteLength: number, use: (buffered: ByteSource) => T): T {
  const length = Math.min(byteLength, source.byteLength);
  const tailBegin = source.byteLength - length;
  let ends: { head: Uint8Array; tail: Uint8Array } | undefined = {
    head: readBytes(source, 0, length),
    tail: readBytes(source, tailBegin, length),
  };
  const read = (position: number, target: Uint8Array): void => {
    const end = position + target.length;
    if (ends !== undefined && end <= length) target.set(ends.head.subarray(position, end));
    else if (ends !== undefined && position >= tailBegin) {
      target.set(ends.tail.subarray(position - tailBegin, end - tailBegin));
    } else source.read(position, target);
  };
  const result = use({ name: source.name, byteLength: source.byteLength, read });
  ends = undefined;
  return result;
}

export function readBytes(source: ByteSource, position: number, byteLength: number): Buffer {
  const bytes = Buffer.allocUnsafe(byteLength);
  source.read(position, bytes);
  return bytes;
}
