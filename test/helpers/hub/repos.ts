// What the loopback Hub holds: repositories, their commits, and the bytes of their files.
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, statSync } from "node:fs";

/** The content of a file: bytes at hand, or a file on disk, which may be sparse and of any size. */
export type Content = Uint8Array | { readonly disk: string };

export interface HubFile {
  readonly content: Content;
  readonly size: number;
  /** SHA-1 of the git blob: of the content, or of its LFS pointer. */
  readonly oid: string;
  /** SHA-256 of the content; of a file on disk that is too large for it, of its path and size. */
  readonly sha256: string;
  readonly isLfs: boolean;
  /** Where the file is kept in Xet storage as well. */
  readonly xetHash?: string;
}

export interface Commit {
  readonly id: string;
  readonly title: string;
  readonly parent: string | null;
  readonly files: ReadonlyMap<string, HubFile>;
}

export interface Repo {
  readonly type: "model" | "dataset";
  /** `owner/name`. */
  readonly id: string;
  isPrivate: boolean;
  isGated: boolean;
  /** Branches, tags and `refs/pr/N`, each to its commit. */
  readonly refs: Map<string, string>;
  readonly commits: Map<string, Commit>;
}

/** Files of a repository, by path. */
export type FileContents = Readonly<Record<string, Content>>;

export interface RepoSetup {
  readonly id: string;
  readonly type?: "model" | "dataset";
  readonly files: FileContents;
  /** The branch, or `refs/pr/N`, that the commit is for; `main` unless given. */
  readonly ref?: string;
  readonly private?: boolean;
  readonly gated?: boolean;
  /** Whether LFS files are kept in Xet storage, too. */
  readonly xet?: boolean;
}

/** Larger files on disk have a made-up hash. */
const HASHED_BYTES = 1 << 28;
/** What the Hub's `.gitattributes` of a new repository names, and whatever is large. */
const LFS_NAME = /\.(?:safetensors|bin|pt|pth|ckpt|distcp|onnx|gguf|h5|msgpack)$|(?:^|\/)tokenizer\.json$/;
const LFS_FROM = 10 << 20;

const sha = (kind: "sha1" | "sha256", ...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash(kind);
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

export const sizeOf = (content: Content): number =>
  content instanceof Uint8Array ? content.length : statSync(content.disk).size;

/** The bytes of a range. */
export function bytesOf(content: Content, begin: number, end: number): Uint8Array {
  if (content instanceof Uint8Array) return content.subarray(begin, end);
  const bytes = Buffer.alloc(end - begin);
  const descriptor = openSync(content.disk, "r");
  try {
    for (let done = 0; done < bytes.length; ) {
      const n = readSync(descriptor, bytes, done, bytes.length - done, begin + done);
      if (n === 0) throw new Error(`${content.disk} ends early`);
      done += n;
    }
  } finally {
    closeSync(descriptor);
  }
  return bytes;
}

/** Whether the Hub keeps a file of this name and size apart from its commits. */
export const hasLfsName = (path: string, size: number): boolean => LFS_NAME.test(path) || size >= LFS_FROM;

export const pointerOf = (sha256: string, size: number): string =>
  `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256}\nsize ${size}\n`;

/** @param isLfs by its name and size unless given */
export function hubFile(path: string, content: Content, isXet = false, isLfs?: boolean): HubFile {
  const size = sizeOf(content);
  const isHashed = content instanceof Uint8Array || size <= HASHED_BYTES;
  const sha256 = isHashed
    ? sha("sha256", bytesOf(content, 0, size))
    : sha("sha256", `${content.disk}:${size}:${statSync(content.disk).mtimeMs}`);
  const lfs = isLfs ?? hasLfsName(path, size);
  const blob = lfs ? Buffer.from(pointerOf(sha256, size)) : bytesOf(content, 0, size);
  return {
    content,
    size,
    oid: sha("sha1", `blob ${blob.length}\0`, blob),
    sha256,
    isLfs: lfs,
    ...(lfs && isXet ? { xetHash: sha("sha256", "xet", sha256) } : {}),
  };
}

export class Repos {
  private readonly all = new Map<string, Repo>();

  /** @param id `owner/name` */
  find(type: Repo["type"], id: string): Repo | undefined {
    return this.all.get(`${type}s/${id}`);
  }

  each(): Iterable<Repo> {
    return this.all.values();
  }

  create(type: Repo["type"], id: string): Repo {
    const repo: Repo = { type, id, isPrivate: false, isGated: false, refs: new Map(), commits: new Map() };
    this.all.set(`${type}s/${id}`, repo);
    return repo;
  }

  /** A repository with one commit on `main`; one more commit where it is there already. */
  put({ id, type = "model", files, ref = "main", xet = false, ...access }: RepoSetup): Commit {
    const repo = this.find(type, id) ?? this.create(type, id);
    repo.isPrivate = access.private ?? repo.isPrivate;
    repo.isGated = access.gated ?? repo.isGated;
    const entries = Object.entries(files).map(([path, content]) => [path, hubFile(path, content, xet)] as const);
    return commit(repo, ref, "files", new Map(entries));
  }
}

/** Adds a commit with exactly these files to a ref. */
export function commit(repo: Repo, ref: string, title: string, files: ReadonlyMap<string, HubFile>): Commit {
  const parent = repo.refs.get(ref) ?? null;
  const listed = [...files].map(([path, { oid }]) => `${oid} ${path}\n`);
  const id = sha("sha1", `${repo.type} ${repo.id} ${parent} ${title} ${repo.commits.size}\n`, ...listed);
  const made: Commit = { id, title, parent, files };
  repo.commits.set(id, made);
  repo.refs.set(ref, id);
  return made;
}

/** By branch, tag, `refs/…`, or the commit's own hash. */
export const commitOf = (repo: Repo, revision: string): Commit | undefined =>
  repo.commits.get(repo.refs.get(revision) ?? repo.refs.get(revision.replace(/^refs\/heads\//, "")) ?? revision);
