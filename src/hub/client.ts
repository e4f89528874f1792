// The Hub through its own client: what a repository holds at a commit, and bytes of its files.
import {
  datasetInfo,
  downloadFile,
  type FileDownloadInfoOutput,
  fileDownloadInfo,
  listFiles,
  modelInfo,
} from "@huggingface/hub";
import { ConvertCheckpointError } from "../base/errors.ts";
import type { HubAddress } from "./address.ts";
import type { HubSettings } from "./settings.ts";
import { networkFetch } from "./web/network.ts";
import { Reader } from "./web/reading.ts";
import { type Asked, failing, strange } from "./web/refusals.ts";
import type { RemoteFile, Snapshot, SnapshotFile } from "./wire.ts";

/** Ranges of the Hub's own address, or chunks of Xet storage. */
type Way = "plain" | "xet";

/**
 * Shorter reads come by plain ranges: Xet moves whole chunks, some 64 KiB too much at the two ends together, and costs two
 * questions more. Of reads from here on that is some percent, and its chunks come packed.
 */
const XET_FROM_BYTES = 1 << 20;

export class HubClient {
  private readonly reader: Reader;
  /** What the Hub says of files that Xet storage keeps, by their keys; null where they come by plain ranges. */
  private readonly xet = new Map<string, Promise<FileDownloadInfoOutput | null>>();
  /** Ways by which a repository gave nothing. */
  private readonly closed = new Set<string>();

  constructor(private readonly settings: HubSettings) {
    this.reader = new Reader(networkFetch(settings), settings);
  }

  /** The commit that a revision is at now, and all its files. Throws ConvertCheckpointError. */
  async snapshot(address: HubAddress, shown: string): Promise<Snapshot> {
    try {
      return await this.listed(address, shown);
    } catch (error) {
      if (error instanceof ConvertCheckpointError) throw error;
      throw strange(shown, this.settings.endpoint, error instanceof Error ? error.message : String(error), error);
    }
  }

  /** Throws what the client does with an answer that is none of the Hub's. */
  private async listed({ type, repository, revision }: HubAddress, shown: string): Promise<Snapshot> {
    const asked = { file: shown, repository, revision };
    const fetcher = this.reader.fetchFor(asked);
    const { endpoint: hubUrl } = this.settings;
    const about = { name: repository, revision: revision ?? "main", hubUrl, fetch: fetcher };
    const info =
      type === "dataset"
        ? await datasetInfo({ ...about, additionalFields: ["sha"] })
        : await modelInfo({ ...about, additionalFields: ["sha"] });
    const commit: unknown = info.sha;
    if (typeof commit !== "string" || commit === "") throw strange(shown, hubUrl, "a repository without a commit");
    const files = new Map<string, SnapshotFile>();
    const repo = { type, name: repository } as const;
    const entries = listFiles({ repo, recursive: true, revision: commit, hubUrl, fetch: fetcher });
    for await (const { type: kind, path, size, oid, lfs, xetHash } of entries) {
      if (kind !== "file") continue;
      const file = {
        size: lfs?.size ?? size,
        sha256: lfs?.oid ?? null,
        oid: oid ?? null,
        xetHash: xetHash ?? null,
      };
      if (typeof path !== "string" || !Number.isSafeInteger(file.size) || file.size < 0)
        throw strange(shown, hubUrl, "a list of files with one that has no name or no size");
      files.set(path, file);
    }
    return { type, repository, revision, commit, files };
  }

  /** Bytes [begin, end) of a file, in their order, a piece at a time. Throws ConvertCheckpointError. */
  async *bytes(file: RemoteFile, begin: number, end: number): AsyncGenerator<Uint8Array, undefined> {
    let at = begin;
    let refused: unknown;
    for (const way of this.waysOf(file, end - begin)) {
      try {
        for await (const bytes of this.part(file, at, end, way)) {
          at += bytes.length;
          yield bytes;
        }
        return undefined;
      } catch (error) {
        if (!isOfTheWay(error, way)) throw error;
        // What plain ranges fail with tells more: they ask the Hub itself.
        if (way === "plain" || refused === undefined) refused = error;
        this.closed.add(wayOf(file, way));
      }
    }
    throw refused;
  }

  /** The better one first. Of a way that was closed before, for any file of the repository, nothing much is hoped. */
  private waysOf(file: RemoteFile, length: number): readonly Way[] {
    if (!this.settings.usesXet || file.xetHash === null) return ["plain"];
    const ways: readonly Way[] = length < XET_FROM_BYTES ? ["plain", "xet"] : ["xet", "plain"];
    return ways.toSorted((a, b) => Number(this.closed.has(wayOf(file, a))) - Number(this.closed.has(wayOf(file, b))));
  }

  private async *part(file: RemoteFile, begin: number, end: number, way: Way): AsyncGenerator<Uint8Array, undefined> {
    const asked = this.expected(file);
    let fault: ConvertCheckpointError | null = null;
    const fetcher = this.reader.fetchFor(asked, (error) => {
      fault = error;
    });
    const { snapshot, path, size, shown } = file;
    const place = {
      repo: { type: snapshot.type, name: snapshot.repository },
      path: encoded(path),
      revision: snapshot.commit,
      hubUrl: this.settings.endpoint,
      fetch: fetcher,
    };
    const plain = { size, etag: file.sha256 ?? file.oid ?? "", url: this.urlOf(file) };
    let at = begin;
    try {
      const info = way === "xet" ? await this.xetInfo(file, () => fileDownloadInfo(place)) : null;
      const blob = await downloadFile({
        ...place,
        xet: info !== null,
        parallelDownloads: false,
        downloadInfo: info ?? plain,
      });
      const reader = blob!.slice(begin, end).stream().getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          const bytes = value.subarray(0, end - at);
          at += bytes.length;
          if (bytes.length > 0) yield bytes;
        }
      } finally {
        await reader.cancel().catch(() => {});
      }
      if (at < end) throw new Error(`${at - begin} of ${end - begin} bytes`);
    } catch (error) {
      if (fault !== null) throw fault;
      if (error instanceof ConvertCheckpointError) throw error;
      throw failing(shown, this.settings.endpoint, error instanceof Error ? error.message : String(error), error);
    }
    return undefined;
  }

  private xetInfo(file: RemoteFile, ask: () => Promise<FileDownloadInfoOutput | null>) {
    const known = this.xet.get(file.key);
    if (known !== undefined) return known;
    const info = ask().then((each) => (each?.xet === undefined ? null : each));
    this.xet.set(file.key, info);
    info.catch(() => this.xet.delete(file.key));
    return info;
  }

  private expected(file: RemoteFile): Asked {
    const { shown, size, sha256, oid, xetHash, snapshot } = file;
    const { repository, revision } = snapshot;
    const hashes = [sha256, oid, xetHash].filter((hash) => hash !== null);
    const asked = { file: shown, repository, revision };
    this.reader.expect(this.urlOf(file), { ...asked, size, hashes });
    return asked;
  }

  /** As the client makes it. */
  private urlOf({ snapshot: { type, repository, commit }, path }: RemoteFile): string {
    const place = `${type === "dataset" ? "datasets/" : ""}${repository}`;
    return new URL(`${this.settings.endpoint}/${place}/resolve/${commit}/${encoded(path)}`).href;
  }
}

const encoded = (path: string): string => path.split("/").map(encodeURIComponent).join("/");

const wayOf = ({ snapshot: { type, repository } }: RemoteFile, way: Way): string => `${way} ${type} ${repository}`;

/** Whether the same bytes may be had another way: storage that cannot be reached from here, or gives nothing. */
const isOfTheWay = (error: unknown, way: Way): boolean =>
  !(error instanceof ConvertCheckpointError) ||
  (way === "xet" ? error.exitCode === 4 : ["HUB_FAILS", "HUB_UNREACHABLE"].includes(error.code));
