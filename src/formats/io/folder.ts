// The folder of a checkpoint, wherever it is kept. All that lies beside a checkpoint is read through it.

import { type ByteSource, readBytes as readAt } from "./byte-source.ts";
import { textNotUtf8, textTooLarge } from "./file-faults.ts";

/** A file of a folder, ready to be read. */
export interface SourceFile extends ByteSource {
  /** Changes when the content changes: size, time and inode of a file on disk. */
  readonly version: string;
  /** Throws InputError FILE_CHANGED where the content that is read is no longer that of opening. */
  check(): void;
  close(): void;
}

/** What a name stands for, links followed; `other` is a pipe, a socket or a device. */
export type EntryKind = "file" | "folder" | "other";

export interface Published {
  /** Of the folder, with the commit in it. */
  readonly address: string;
  readonly commit: string;
}

/**
 * Names are relative to the folder, with `/` between their parts. All calls are synchronous: a folder that is not on disk
 * fetches what is asked for before it is handed out (docs/decisions/012).
 */
export interface Folder {
  /** The name in messages and reports. */
  readonly path: string;
  /** Memory that reading from it takes beside the process; none unless given. */
  readonly workBytes?: number;
  /** Where this content, and no other, is published; absent where that is nowhere. */
  readonly published?: Published;
  /** Names of what is directly inside, sorted by code units. Throws InputError, EnvironmentError. */
  list(): readonly string[];
  /** Null where nothing has that name. Throws EnvironmentError where that cannot be told. */
  kind(name: string): EntryKind | null;
  /**
   * A file's size is known from then on, and no other content is read than that of this moment.
   * @param shown what messages call it; its path unless given
   * @throws InputError FILE_MISSING, NOT_A_FILE; EnvironmentError FILE_UNREADABLE
   */
  open(name: string, shown?: string): SourceFile;
  folder(name: string): Folder;
  /** These files are going to be opened, and read from their beginning: what is far away is fetched at once. */
  expect?(names: readonly string[]): void;
  /** The name in messages and reports of what is in it. */
  pathOf(name: string): string;
  /** Where a file, or the folder itself, lies on this machine's disks, so that nothing is written over it; else null. */
  diskPathOf(name?: string): string | null;
}

/** The commit of a repository that what lies in the folder is of, as a field of a document. */
export const commitOf = ({ folder: { published } }: { readonly folder: Folder }): { readonly commit?: string } =>
  published === undefined ? {} : { commit: published.commit };

/** A folder, or one file in it. */
export interface Location {
  /** As the user gave it. */
  readonly path: string;
  readonly folder: Folder;
  /** Name of the file; null where the folder itself is meant. */
  readonly file: string | null;
}

/** A file by its name in a folder. */
export interface FileIn {
  readonly folder: Folder;
  readonly name: string;
}

export const has = (folder: Folder, name: string): boolean => folder.kind(name) !== null;

/** A file of a folder as a location of its own. */
export const inFolder = (folder: Folder, file: string): Location => ({ path: folder.pathOf(file), folder, file });

/** Opens the file, so that one which cannot be read shows. Throws what opening throws. */
export function versionOf({ folder, name }: FileIn): string {
  const file = folder.open(name);
  try {
    file.read(0, new Uint8Array());
    return file.version;
  } finally {
    file.close();
  }
}

/** The files that one checkpoint reads from, closed together. */
export class OpenFiles {
  private readonly files: SourceFile[] = [];

  constructor(private readonly folder: Folder) {}

  /** Throws what opening throws. */
  open(name: string, shown?: string): SourceFile {
    const file = this.folder.open(name, shown);
    this.files.push(file);
    return file;
  }

  /** Throws InputError FILE_CHANGED. */
  check(): void {
    for (const file of this.files) file.check();
  }

  close(): void {
    for (const file of this.files) file.close();
  }
}

/**
 * Limit for configs and the like. They have some kilobytes; the longest known ones list the exceptions of a
 * quantisation.
 */
export const CONFIG_LIMIT = 1 << 24;

/**
 * Text of a file of at most `limit` bytes, which must be below the length of a string in V8, 2^29 − 24.
 * @throws InputError TEXT_TOO_LARGE, TEXT_NOT_UTF8, and what opening throws
 */
export const readText = (folder: Folder, name: string, limit: number, shown: string = folder.pathOf(name)): string =>
  decodeUtf8(readBytes(folder, name, limit, shown), (cause) => textNotUtf8(shown, cause));

/** All of a file of at most `limit` bytes. Throws InputError TEXT_TOO_LARGE, and what opening throws. */
export function readBytes(folder: Folder, name: string, limit: number, shown?: string): Buffer {
  const file = folder.open(name, shown);
  try {
    if (file.byteLength > limit) throw textTooLarge(file.name, file.byteLength, limit);
    return readAt(file, 0, file.byteLength);
  } finally {
    file.close();
  }
}

/** The text of these bytes. Bytes that are not UTF-8 are refused: decoding would replace them. */
export function decodeUtf8(bytes: Uint8Array, fault: (cause: unknown) => Error): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw fault(cause);
  }
}
