// SHA-256 of files beside the work, in a thread of its own: OpenSSL takes some 1.8 GB/s.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { isAddress } from "../../base/addresses.ts";
import type { SeenFile } from "../../base/witness.ts";
import { versionAt } from "./file-pool.ts";

/** Smaller files are hashed at once: a thread takes longer to start. */
const SMALL_BYTES = 1 << 22;

interface Answer {
  readonly path: string;
  /** Null where the file is another than the one that was read. */
  readonly sha256: string | null;
}

/** Hashes the content that a run read: one that was changed since has no hash. */
export class FileHasher {
  private worker: Worker | undefined;
  private readonly waiting = new Map<string, SeenFile>();
  private done = () => {};

  /** Begins. Does not throw: a file that is gone has no hash. */
  hash(file: SeenFile): void {
    // What lies elsewhere is hashed as it comes, or has its hash from there.
    if (isAddress(file.path)) return;
    if (file.version === null || file.sha256 !== null || file.hasChanged || this.waiting.has(file.path)) return;
    if (file.bytes <= SMALL_BYTES) {
      settle(file, hashedNow(file));
      return;
    }
    this.waiting.set(file.path, file);
    this.worker ??= this.started();
    this.worker.postMessage({ path: file.path, version: file.version });
  }

  /** When all that was begun has come to an end. */
  async finish(): Promise<void> {
    if (this.waiting.size > 0) {
      this.worker?.ref();
      await new Promise<void>((resolve) => {
        this.done = resolve;
      });
    }
    await this.stop();
  }

  /** What has not come to an end has no hash. */
  async stop(): Promise<void> {
    this.waiting.clear();
    await this.worker?.terminate();
    this.worker = undefined;
  }

  private started(): Worker {
    const worker = new Worker(WORKER, { eval: true });
    worker.unref();
    worker.on("message", ({ path, sha256 }: Answer) => {
      const file = this.waiting.get(path);
      this.waiting.delete(path);
      if (file !== undefined) settle(file, sha256);
      if (this.waiting.size === 0) this.done();
    });
    // Without the thread there are no hashes, and reports say so: the run itself is as good.
    worker.on("error", () => {
      this.waiting.clear();
      this.done();
    });
    return worker;
  }
}

function settle(file: SeenFile, sha256: string | null): void {
  file.sha256 = sha256;
  file.hasChanged ||= sha256 === null;
}

function hashedNow({ path, version }: SeenFile): string | null {
  try {
    if (versionAt(path) !== version) return null;
    const content = readFileSync(path);
    return versionAt(path) === version ? createHash("sha256").update(content).digest("hex") : null;
  } catch {
    return null;
  }
}

const WORKER = `
const { parentPort } = require("node:worker_threads");
const { createHash } = require("node:crypto");
const fs = require("node:fs");
const buffer = Buffer.allocUnsafeSlow(${1 << 22});

function isOf(fd, version) {
  const { size, mtimeNs, ino } = fs.fstatSync(fd, { bigint: true });
  return version === size + ":" + mtimeNs || version === size + ":" + mtimeNs + ":" + ino;
}

function hashOf(path, version) {
  const fd = fs.openSync(path, "r");
  try {
    if (!isOf(fd, version)) return null;
    const hash = createHash("sha256");
    for (let n; (n = fs.readSync(fd, buffer, 0, buffer.length, null)) > 0; ) hash.update(buffer.subarray(0, n));
    return isOf(fd, version) ? hash.digest("hex") : null;
  } finally {
    fs.closeSync(fd);
  }
}

parentPort.on("message", ({ path, version }) => {
  let sha256 = null;
  try {
    sha256 = hashOf(path, version);
  } catch {}
  parentPort.postMessage({ path, sha256 });
});
`;
