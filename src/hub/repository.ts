// A repository of the Hub at one commit, as this process reads it: a revision is looked up once, a head fetched once.
import { createHash } from "node:crypto";
import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import { received } from "../base/sent-failure.ts";
import { fileChanged } from "../formats/io/file-faults.ts";
import { type HubAddress, hubAddressOf } from "./address.ts";
import { cachedSnapshot } from "./cache.ts";
import { Line } from "./line.ts";
import { type HubSettings, hubSettings } from "./settings.ts";
import { Window } from "./window.ts";
import type { RemoteFile, Snapshot } from "./wire.ts";

/** Whole files that are kept, in all: a tokenizer of 200,000 tokens has some 30 MB. */
const KEPT_BYTES = 64 << 20;

/** What threads that are started later find: they have nothing to look up again. */
interface Known {
  readonly snapshot: Snapshot;
  /** First bytes of files, by path. */
  readonly heads: Map<string, Uint8Array>;
  readonly wholes: Map<string, WholeFile>;
}

export interface WholeFile {
  readonly bytes: Uint8Array;
  readonly sha256: string;
}

const SHARED = "convert-checkpoint: repositories of the Hub";

/** By the way to the Hub: tests and long-lived programs change it. */
const connections = new Map<string, { readonly line: Line; readonly window: Window }>();
const repositories = new Map<string, HubRepository>();
const known: Map<string, Known> = adopted();

function adopted(): Map<string, Known> {
  const data: unknown = getEnvironmentData(SHARED);
  const map = data instanceof Map ? data : new Map();
  setEnvironmentData(SHARED, map);
  return map;
}

export class HubRepository {
  private readonly pending = new Set<string>();
  private kept = 0;

  private constructor(
    readonly settings: HubSettings,
    readonly snapshot: Snapshot,
    private readonly heads: Known["heads"],
    private readonly wholes: Known["wholes"],
  ) {}

  /** Of the revision as it was when this process first asked. Throws ConvertCheckpointError. */
  static at(address: HubAddress, shown: string): HubRepository {
    const settings = hubSettings();
    const key = JSON.stringify([settings, { ...address, path: "" }]);
    let repository = repositories.get(key);
    if (repository === undefined) {
      const found = known.get(key) ?? {
        snapshot: snapshotOf(settings, address, shown),
        heads: new Map(),
        wholes: new Map(),
      };
      known.set(key, found);
      repository = new HubRepository(settings, found.snapshot, found.heads, found.wholes);
      repositories.set(key, repository);
    }
    return repository;
  }

  remote(path: string, shown: string): RemoteFile {
    const { snapshot } = this;
    const { type, repository, revision, commit } = snapshot;
    const key = hubAddressOf({ type, repository, revision: commit, path });
    return { ...snapshot.files.get(path)!, snapshot: { type, repository, revision, commit }, path, key, shown };
  }

  /** Asks for heads that will be wanted, without waiting for them. */
  expect(files: readonly RemoteFile[]): void {
    const asked = files.filter(({ path, size }) => size > 0 && !this.heads.has(path) && !this.pending.has(path));
    if (asked.length === 0) return;
    for (const { path } of asked) this.pending.add(path);
    connected(this.settings).line.ask({ kind: "heads", files: asked }, (answer) => {
      if (answer.kind === "head") this.heads.set(answer.path, answer.bytes);
      // Whoever opens a file that did not come asks for it again, and is told what is wrong with it.
      else for (const { path } of asked) this.pending.delete(path);
    });
  }

  /** The first bytes of a file, of safetensors the header to its end. */
  head(file: RemoteFile): Uint8Array {
    const { line } = connected(this.settings);
    if (this.pending.has(file.path)) line.until(() => this.heads.has(file.path) || !this.pending.has(file.path));
    const there = this.heads.get(file.path);
    if (there !== undefined) return there;
    let failed: Error | undefined;
    let isDone = false;
    line.ask({ kind: "heads", files: [file] }, (answer) => {
      if (answer.kind === "head") this.heads.set(answer.path, answer.bytes);
      else isDone = true;
      if (answer.kind === "failed") failed = received(answer.failure);
    });
    line.until(() => isDone);
    if (failed !== undefined) throw failed;
    return this.heads.get(file.path)!;
  }

  /** All of a file of some megabytes. Throws InputError FILE_CHANGED where it is not the content that the Hub lists. */
  whole(file: RemoteFile): WholeFile {
    const there = this.wholes.get(file.path);
    if (there !== undefined) return there;
    let bytes = this.heads.get(file.path) ?? new Uint8Array();
    if (bytes.length < file.size) {
      const answer = connected(this.settings).line.answer({ kind: "whole", file, before: bytes });
      if (answer.kind !== "bytes") throw new Error("an answer of another kind");
      bytes = answer.bytes;
    }
    const whole = { bytes, sha256: verified(file, bytes) };
    this.kept += file.size;
    if (this.kept <= KEPT_BYTES) this.wholes.set(file.path, whole);
    return whole;
  }

  read(file: RemoteFile, position: number, target: Uint8Array, until: number | undefined): void {
    connected(this.settings).window.read(file, position, target, until);
  }
}

function snapshotOf(settings: HubSettings, address: HubAddress, shown: string): Snapshot {
  if (settings.offline !== null) return cachedSnapshot(settings, address, shown);
  const answer = connected(settings).line.answer({ kind: "snapshot", address, shown });
  if (answer.kind !== "snapshot") throw new Error("an answer of another kind");
  return answer.snapshot;
}

function connected(settings: HubSettings) {
  // Where the cache is does not matter to the thread.
  const key = JSON.stringify({ ...settings, cache: "", offline: null });
  const there = connections.get(key);
  if (there !== undefined) return there;
  const line = new Line(settings);
  const made = { line, window: new Window(line) };
  connections.set(key, made);
  return made;
}

/** SHA-256 of a whole file. Throws InputError FILE_CHANGED where it is not the content that the Hub lists. */
function verified({ shown, sha256, oid }: RemoteFile, bytes: Uint8Array): string {
  const found = createHash("sha256").update(bytes).digest("hex");
  const blob = () => createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
  const [expected, is] = sha256 !== null ? [sha256, found] : oid !== null ? [oid, blob()] : ["", ""];
  if (expected !== is) throw fileChanged(shown, "the content is not the one that the Hub lists", expected, is);
  return found;
}
