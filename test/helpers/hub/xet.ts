// Xet storage as a writer meets it: chunks come in xorbs, and a shard says which of them a file is made of. Files are put together
// from that and nothing else, and count as stored where they have the SHA-256 that the shard claims.
import { createHash } from "node:crypto";
import type { Exchange } from "./exchange.ts";
import { unframed } from "./lz4.ts";
import type { Route } from "./state.ts";

const HASH_BYTES = 32;
const ENTRY_BYTES = 48;
const HEADER_BYTES = 48;
const CHUNK_HEADER = 8;
const HAS_VERIFICATION = 1 << 31;
const HAS_METADATA = 1 << 30;
const BOOKEND = "ff".repeat(HASH_BYTES);
const TAG = Buffer.from("HFRepoMetaData\0", "latin1");

interface Chunk {
  /** In the xorb, header included. */
  readonly begin: number;
  readonly end: number;
  readonly length: number;
}

interface Xorb {
  readonly bytes: Buffer;
  readonly chunks: readonly Chunk[];
}

/** A run of chunks of a xorb. */
interface Term {
  readonly xorb: string;
  readonly begin: number;
  readonly end: number;
  readonly length: number;
}

interface ShardFile {
  readonly hash: string;
  readonly terms: readonly Term[];
  readonly sha256: string | null;
}

export class XetStore {
  private readonly xorbs = new Map<string, Xorb>();
  private readonly files = new Map<string, readonly Term[]>();
  /** Of the content's SHA-256, what the file is called here. */
  readonly names = new Map<string, string>();

  constructor(private readonly objects: Map<string, Uint8Array>) {}

  /** What is wrong with it, or null. */
  putXorb(hash: string, bytes: Buffer): string | null {
    const chunks: Chunk[] = [];
    for (let begin = 0; begin < bytes.length; ) {
      const end = begin + CHUNK_HEADER + bytes.readUIntLE(begin + 1, 3);
      if (bytes[begin] !== 0 || end > bytes.length) return `chunk ${chunks.length} is none`;
      chunks.push({ begin, end, length: bytes.readUIntLE(begin + 5, 3) });
      begin = end;
    }
    this.xorbs.set(hash, { bytes, chunks });
    return null;
  }

  /** What is wrong with it, or null. */
  putShard(bytes: Buffer): string | null {
    if (!bytes.subarray(0, TAG.length).equals(TAG)) return "not a shard";
    for (const { hash, terms, sha256 } of filesOf(bytes)) {
      const unknown = terms.find(({ xorb, end }) => end > (this.xorbs.get(xorb)?.chunks.length ?? 0));
      if (unknown !== undefined) return `no such chunks of xorb ${unknown.xorb}`;
      const content = Buffer.concat(terms.map((term) => this.contentOf(term)));
      if (sha256 === null || createHash("sha256").update(content).digest("hex") !== sha256) return "BadDigest";
      this.objects.set(sha256, content);
      this.files.set(hash, terms);
      this.names.set(sha256, hash);
    }
    return null;
  }

  xorb(hash: string): Buffer | undefined {
    return this.xorbs.get(hash)?.bytes;
  }

  /** Where the bytes [begin, end) of a file lie; null where it was not sent here. */
  reconstruction(hash: string, begin: number, end: number, origin: string): unknown {
    const all = this.files.get(hash);
    if (all === undefined) return null;
    const own = this.chunksOf(all, begin, end);
    const entries = own.map(({ term: { xorb, begin: first, end: last } }) => {
      const { chunks } = this.xorbs.get(xorb)!;
      const bytes = { start: chunks[first]!.begin, end: chunks[last - 1]!.end - 1 };
      return [
        xorb,
        { url: `${origin}/xorbs/${xorb}`, ranges: [{ chunks: { start: first, end: last }, bytes }] },
      ] as const;
    });
    return {
      offset_into_first_range: begin - own[0]!.begin,
      terms: own.map(({ term }) => ({
        hash: term.xorb,
        unpacked_length: term.length,
        range: { start: term.begin, end: term.end },
      })),
      xorbs: Object.fromEntries(
        entries.map(([xorb]) => [xorb, entries.filter(([other]) => other === xorb).map(([, entry]) => entry)]),
      ),
    };
  }

  /** Of each term the chunks that have bytes of [begin, end), and the byte of the file that they begin at. */
  private chunksOf(
    terms: readonly Term[],
    begin: number,
    end: number,
  ): { readonly term: Term; readonly begin: number }[] {
    let at = 0;
    return terms.flatMap((term) => {
      const { chunks } = this.xorbs.get(term.xorb)!;
      const placed = chunks.slice(term.begin, term.end).map(({ length }, i) => {
        at += length;
        return { index: term.begin + i, begin: at - length, end: at };
      });
      const own = placed.filter((each) => each.begin < end && each.end > begin);
      const [first, last] = [own[0], own.at(-1)];
      if (first === undefined || last === undefined) return [];
      const range = { begin: first.index, end: last.index + 1, length: last.end - first.begin };
      return [{ term: { ...term, ...range }, begin: first.begin }];
    });
  }

  private contentOf({ xorb, begin, end }: Term): Buffer {
    const { bytes, chunks } = this.xorbs.get(xorb)!;
    return Buffer.concat(
      chunks.slice(begin, end).map((chunk) => {
        const packed = bytes.subarray(chunk.begin + CHUNK_HEADER, chunk.end);
        const scheme = bytes[chunk.begin + 4];
        if (scheme === 0) return packed;
        const unpacked = unframed(packed, chunk.length);
        return scheme === 1 ? unpacked : regrouped(unpacked);
      }),
    );
  }
}

/** First bytes of all groups of four, then second ones, and so on: put back into groups. */
function regrouped(split: Buffer): Buffer {
  const joined = Buffer.alloc(split.length);
  let at = 0;
  for (let lane = 0; lane < 4; lane += 1) {
    for (let i = lane; i < joined.length; i += 4) joined[i] = split[at++]!;
  }
  return joined;
}

/** The file section of a shard, which stands behind its header. */
function filesOf(shard: Buffer): ShardFile[] {
  const files: ShardFile[] = [];
  let at = HEADER_BYTES;
  for (;;) {
    const hash = hashAt(shard, at);
    if (hash === BOOKEND) return files;
    const flags = shard.readUInt32LE(at + HASH_BYTES) | 0;
    const count = shard.readUInt32LE(at + HASH_BYTES + 4);
    at += ENTRY_BYTES;
    const terms = Array.from({ length: count }, (_, i): Term => {
      const entry = at + i * ENTRY_BYTES;
      const [length = 0, begin = 0, end = 0] = [4, 8, 12].map((offset) =>
        shard.readUInt32LE(entry + HASH_BYTES + offset),
      );
      return { xorb: hashAt(shard, entry), begin, end, length };
    });
    at += count * ENTRY_BYTES;
    if (flags & HAS_VERIFICATION) at += count * ENTRY_BYTES;
    const sha256 = flags & HAS_METADATA ? hashAt(shard, at) : null;
    if (sha256 !== null) at += ENTRY_BYTES;
    files.push({ hash, terms, sha256 });
  }
}

/** As text it has each of its four numbers with the highest byte first. */
const hashAt = (bytes: Buffer, at: number): string =>
  [0, 8, 16, 24]
    .map((i) =>
      Buffer.from(bytes.subarray(at + i, at + i + 8))
        .reverse()
        .toString("hex"),
    )
    .join("");

/** Where chunks are sent to. */
export const xetRoutes: Route = async (exchange, { stored }) => {
  const { pathname } = exchange.url;
  const [, xorb] = /^\/v1\/xorbs\/default\/([0-9a-f]{64})$/.exec(pathname) ?? [];
  if (/^\/v1\/chunks\/default\/[0-9a-f]{64}$/.test(pathname)) {
    await exchange.send(404, {}, "not known");
    return true;
  }
  if (exchange.method !== "POST" || (xorb === undefined && !/^(\/v1)?\/shards$/.test(pathname))) return false;
  if (exchange.seen.token !== "xet-write") await exchange.send(401, {}, "no token");
  else await taken(exchange, xorb, stored.xet);
  return true;
};

async function taken(exchange: Exchange, xorb: string | undefined, store: XetStore): Promise<void> {
  const bytes = await exchange.body();
  const fault = xorb === undefined ? store.putShard(bytes) : store.putXorb(xorb, bytes);
  if (fault !== null) await exchange.send(400, {}, fault);
  else await exchange.json(xorb === undefined ? { result: 1 } : { was_inserted: true });
}
