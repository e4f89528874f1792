// What was sent to the Hub's storage: LFS objects, whole or in parts, and Xet's xorbs and shards.
import { createHash, randomUUID } from "node:crypto";
import type { Exchange } from "./exchange.ts";
import type { Route } from "./state.ts";
import { XetStore } from "./xet.ts";

interface PartedUpload {
  readonly oid: string;
  readonly parts: Map<number, { readonly etag: string; readonly bytes: Buffer }>;
}

export class Stored {
  readonly objects = new Map<string, Uint8Array>();
  readonly xet = new XetStore(this.objects);
  private readonly uploads = new Map<string, PartedUpload>();

  constructor(
    /** A larger object is sent in parts of so many bytes. */
    readonly partBytes: number,
    readonly isXet: boolean,
  ) {}

  /** Where to send an object to; each question begins a new upload. */
  upload(oid: string, size: number, hub: string, cdn: string): unknown {
    if (size <= this.partBytes) return { href: `${cdn}/lfs/${oid}?signature=good`, expires_in: 900 };
    const id = randomUUID();
    this.uploads.set(id, { oid, parts: new Map() });
    const parts = Array.from({ length: Math.ceil(size / this.partBytes) }, (_, i) => [
      String(i + 1).padStart(5, "0"),
      `${cdn}/lfs/${oid}?uploadId=${id}&partNumber=${i + 1}&signature=good`,
    ]);
    const header = { chunk_size: String(this.partBytes), ...Object.fromEntries(parts) };
    return { href: `${hub}/api/complete_multipart?uploadId=${id}`, header };
  }

  /** What is wrong with it, or null. */
  put(oid: string, uploadId: string | null, part: number, bytes: Buffer): { etag: string } | string {
    const etag = createHash("md5").update(bytes).digest("hex");
    if (uploadId !== null) {
      const upload = this.uploads.get(uploadId);
      if (upload?.oid !== oid) return "NoSuchUpload";
      upload.parts.set(part, { etag, bytes });
      return { etag };
    }
    if (createHash("sha256").update(bytes).digest("hex") !== oid) return "BadDigest";
    this.objects.set(oid, bytes);
    return { etag };
  }

  /** What is wrong with it, or null. */
  complete(uploadId: string, parts: readonly { readonly partNumber: number; readonly etag: string }[]): string | null {
    const upload = this.uploads.get(uploadId);
    if (upload === undefined) return "NoSuchUpload";
    const bytes: Buffer[] = [];
    for (const { partNumber, etag } of parts) {
      const part = upload.parts.get(partNumber);
      if (part === undefined || etag !== `"${part.etag}"`) return "InvalidPart";
      bytes.push(part.bytes);
    }
    const whole = Buffer.concat(bytes);
    if (createHash("sha256").update(whole).digest("hex") !== upload.oid) return "BadDigest";
    this.objects.set(upload.oid, whole);
    this.uploads.delete(uploadId);
    return null;
  }
}

/** Of the host that keeps LFS objects. */
export const storeRoutes: Route = async (exchange, { stored }) => {
  const { pathname, searchParams } = exchange.url;
  const [, oid] = /^\/lfs\/([0-9a-f]{64})$/.exec(pathname) ?? [];
  if (oid === undefined || exchange.method !== "PUT") return false;
  if (!(await isWelcome(exchange))) return true;
  const bytes = await exchange.body();
  const put = stored.put(oid, searchParams.get("uploadId"), Number(searchParams.get("partNumber") ?? 0), bytes);
  if (typeof put === "string") await exchange.send(400, {}, put);
  else await exchange.send(200, { ETag: `"${put.etag}"` });
  return true;
};

/** Such a store takes either its signature or a header of its own, and has to know the length. */
async function isWelcome(exchange: Exchange): Promise<boolean> {
  if (exchange.seen.token !== null) await exchange.send(400, {}, "only one auth mechanism allowed");
  else if (exchange.request.headers["content-length"] === undefined)
    await exchange.send(411, {}, "MissingContentLength");
  else return true;
  return false;
}
