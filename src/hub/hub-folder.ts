// A repository of the Hub, or a folder in it, as a folder that checkpoints are read from.
import { basename, dirname, posix } from "node:path";
import { type SeenFile, witness } from "../base/witness.ts";
import { DiskFolder } from "../formats/io/disk-folder.ts";
import { fileChanged, fileMissing, notAFile } from "../formats/io/file-faults.ts";
import type { EntryKind, Folder, Location, SourceFile } from "../formats/io/folder.ts";
import { hubAddressOf, parseHubAddress } from "./address.ts";
import { cachedFile } from "./cache.ts";
import { HubRepository } from "./repository.ts";
import type { RemoteFile } from "./wire.ts";

/** Files of so much are fetched at once, whatever they are. */
const SMALL_BYTES = 1 << 18;
/** Texts of so much are, too; weights that are kept in git, when more than their head is read. */
const WHOLE_BYTES = 32 << 20;
const WEIGHTS = /\.(?:safetensors|bin|pt|pth|ckpt|distcp)$/;

/** How a file is fetched. One that is fetched whole is compared with the hash that the Hub lists. */
function fetchingOf({ path, size, sha256 }: RemoteFile): "at once" | "whole" | "by ranges" {
  const isText = !WEIGHTS.test(path);
  if (size <= SMALL_BYTES || (isText && size <= WHOLE_BYTES)) return "at once";
  return sha256 === null && size <= WHOLE_BYTES ? "whole" : "by ranges";
}

/** Where `hf://owner/name[@revision][/folder or file]` leads. Throws ConvertCheckpointError. */
export function locateOnHub(text: string): Location {
  const address = parseHubAddress(text);
  const path = text.replace(/\/+$/, "");
  const repository = HubRepository.at(address, path);
  const root = hubAddressOf({ ...address, path: "" });
  const here = new HubFolder(repository, address.path, path);
  if (address.path === "" || here.isFolder()) return { path, folder: here, file: null };
  const above = posix.dirname(address.path);
  const folder = above === "." ? "" : above;
  const shown = folder === "" ? root : `${root}/${folder}`;
  return { path, folder: new HubFolder(repository, folder, shown), file: posix.basename(address.path) };
}

/** The window, and the thread that fills it: 120 MB measured on Node 20. */
const WORK_BYTES = 125e6;

class HubFolder implements Folder {
  readonly workBytes = WORK_BYTES;
  private readonly prefix: string;

  constructor(
    private readonly repository: HubRepository,
    /** In the repository; empty for all of it. */
    private readonly inside: string,
    readonly path: string,
  ) {
    this.prefix = inside === "" ? "" : `${inside}/`;
  }

  get published() {
    const { type, repository, commit } = this.repository.snapshot;
    return { address: hubAddressOf({ type, repository, revision: commit, path: this.inside }), commit };
  }

  isFolder(): boolean {
    return this.holds(this.prefix);
  }

  list(): readonly string[] {
    const names = new Set<string>();
    for (const path of this.files.keys()) {
      if (path.startsWith(this.prefix)) names.add(path.slice(this.prefix.length).split("/")[0]!);
    }
    return [...names].sort();
  }

  kind(name: string): EntryKind | null {
    if (this.files.has(this.prefix + name)) return "file";
    return this.holds(`${this.prefix}${name}/`) ? "folder" : null;
  }

  open(name: string, shown: string = this.pathOf(name)): SourceFile {
    const kind = this.kind(name);
    if (kind !== "file") throw kind === null ? fileMissing(shown) : notAFile(shown);
    const file = this.repository.remote(this.prefix + name, shown);
    const cached = this.cached(name);
    return cached === null ? new HubFile(this.repository, file, this.pathOf(name)) : new CachedFile(file, cached);
  }

  folder(name: string): Folder {
    return new HubFolder(this.repository, this.prefix + name, this.pathOf(name));
  }

  pathOf(name: string): string {
    return `${this.path}/${name}`;
  }

  diskPathOf(name?: string): string | null {
    return name === undefined || this.kind(name) !== "file" ? null : this.cached(name);
  }

  expect(names: readonly string[]): void {
    const missing = names.filter((name) => this.kind(name) === "file" && this.cached(name) === null);
    this.repository.expect(missing.map((name) => this.repository.remote(this.prefix + name, this.pathOf(name))));
  }

  private get files() {
    return this.repository.snapshot.files;
  }

  private holds(prefix: string): boolean {
    for (const path of this.files.keys()) if (path.startsWith(prefix)) return true;
    return false;
  }

  private cached(name: string): string | null {
    const { settings, snapshot } = this.repository;
    return cachedFile(settings, snapshot, this.prefix + name);
  }
}

/** By content: of whatever commit, wherever it is read from. */
const versionOf = ({ size, sha256, oid, key }: RemoteFile): string => `${size}:${sha256 ?? oid ?? key}`;

class HubFile implements SourceFile {
  readonly name: string;
  readonly byteLength: number;
  readonly version: string;
  private readonly witness = witness();
  private readonly seen: SeenFile | undefined;
  private isClosed = false;
  private readonly kind: ReturnType<typeof fetchingOf>;
  private bytes: Uint8Array | undefined;

  constructor(
    private readonly repository: HubRepository,
    private readonly file: RemoteFile,
    path: string,
  ) {
    this.name = file.shown;
    this.byteLength = file.size;
    this.version = versionOf(file);
    this.kind = fetchingOf(file);
    this.seen = this.witness?.opens(path, file.size, this.version);
    if (this.seen !== undefined) {
      this.seen.sha256 ??= file.sha256;
      this.seen.commit = file.snapshot.commit;
    }
  }

  read(position: number, target: Uint8Array, until?: number): void {
    if (this.isClosed) throw new Error(`${this.name} was read after it was closed`);
    const end = position + target.length;
    if (end > this.byteLength) {
      const [expected, found] = [`${end} bytes`, `${this.byteLength} bytes`];
      throw fileChanged(this.name, "the file is shorter than what is read of it", expected, found);
    }
    if (target.length > 0) this.fill(position, target, until);
    this.seen?.covers(target.length);
  }

  /** What is at hand of the file from its beginning on comes from there. */
  private fill(position: number, target: Uint8Array, until: number | undefined): void {
    const there = this.there(position + target.length);
    const bytes = there.subarray(position, position + target.length);
    target.set(bytes);
    if (bytes.length === target.length) return;
    this.repository.read(this.file, position + bytes.length, target.subarray(bytes.length), until);
  }

  private there(end: number): Uint8Array {
    if (this.bytes === undefined && this.kind !== "at once") this.bytes = this.repository.head(this.file);
    if (this.bytes === undefined || (end > this.bytes.length && this.kind === "whole")) {
      const { bytes, sha256 } = this.repository.whole(this.file);
      this.bytes = bytes;
      if (this.seen !== undefined) this.seen.sha256 = sha256;
    }
    return this.bytes;
  }

  /** Each answer came with the etag of the first: nothing that was read is of another content. */
  check(): void {}

  close(): void {
    if (!this.isClosed && this.seen !== undefined) this.witness?.closes(this.seen);
    this.isClosed = true;
  }
}

/** A file that the cache has. It is read from there, and is the same file as on the Hub. */
class CachedFile implements SourceFile {
  readonly name: string;
  readonly byteLength: number;
  readonly version: string;
  private readonly disk: SourceFile;

  constructor(file: RemoteFile, place: string) {
    this.disk = new DiskFolder(dirname(place)).open(basename(place), file.shown);
    this.name = file.shown;
    this.byteLength = this.disk.byteLength;
    this.version = file.sha256 === null && file.oid === null ? this.disk.version : versionOf(file);
  }

  read(position: number, target: Uint8Array): void {
    this.disk.read(position, target);
  }

  check(): void {
    this.disk.check();
  }

  close(): void {
    this.disk.close();
  }
}
