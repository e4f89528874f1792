// What other hosts keep for the Hub: LFS objects by signed address, and the same in Xet storage, in chunks.
import type { Exchange } from "./exchange.ts";
import { bytesOf, type HubFile, type Repos } from "./repos.ts";
import type { Route, State } from "./state.ts";

/** Chunks of Xet storage have 8 to 128 KiB, some 64 on average, and end where their content says: never where a reader does. */
const CHUNK = 100_000;
const CHUNK_HEADER = 8;

export function objectWith(repos: Repos, matches: (file: HubFile) => boolean): HubFile | undefined {
  for (const repo of repos.each()) {
    for (const { files } of repo.commits.values()) for (const file of files.values()) if (matches(file)) return file;
  }
  return undefined;
}

export const cdnRoutes: Route = async (exchange, { repos }) => {
  const [, sha256] = /^\/lfs\/([0-9a-f]{64})$/.exec(exchange.url.pathname) ?? [];
  if (sha256 === undefined || (exchange.method !== "GET" && exchange.method !== "HEAD")) return false;
  const file = objectWith(repos, (each) => each.sha256 === sha256);
  // Such a store takes either its signature or a header of its own: with both it refuses.
  if (exchange.seen.token !== null) await exchange.send(400, {}, "only one auth mechanism allowed");
  else if (exchange.url.searchParams.get("signature") !== "good") await exchange.send(403, {}, "signature expired");
  else if (file === undefined) await exchange.send(404, {}, "no such object");
  else await exchange.sendFile({ ...file, etag: `stored-${sha256.slice(0, 16)}` });
  return true;
};

export const casRoutes: Route = async (exchange, state) => {
  const [, call, hash] = /^\/(v2\/reconstructions|xorbs)\/([0-9a-f]{64})$/.exec(exchange.url.pathname) ?? [];
  if (hash === undefined || exchange.method !== "GET") return false;
  const xorb = state.stored.xet.xorb(hash);
  const file = objectWith(state.repos, (each) => each.xetHash === hash);
  if (call === "xorbs" && xorb !== undefined) await exchange.sendFile({ content: xorb, size: xorb.length, etag: hash });
  else if (file === undefined) await exchange.send(404, {}, "no such object");
  else if (call === "xorbs") await exchange.sendFile({ content: xorbOf(file), size: xorbSize(file.size), etag: hash });
  else if (exchange.seen.token !== "xet-read") await exchange.send(401, {}, "no token");
  else await reconstruction(exchange, file, hash, state);
  return true;
};

const chunksOf = (size: number): number => Math.ceil(size / CHUNK);
const xorbSize = (size: number): number => size + CHUNK_HEADER * chunksOf(size);

/** Each chunk with its header: version, length, no compression, length again. */
function xorbOf({ content, size }: HubFile): Uint8Array {
  const xorb = Buffer.alloc(xorbSize(size));
  for (let chunk = 0; chunk < chunksOf(size); chunk += 1) {
    const [begin, end] = [chunk * CHUNK, Math.min((chunk + 1) * CHUNK, size)];
    const at = begin + chunk * CHUNK_HEADER;
    xorb.writeUIntLE(end - begin, at + 1, 3);
    xorb.writeUIntLE(end - begin, at + 5, 3);
    xorb.set(bytesOf(content, begin, end), at + CHUNK_HEADER);
  }
  return xorb;
}

async function reconstruction(exchange: Exchange, { size }: HubFile, hash: string, state: State): Promise<void> {
  const [, first = "0", last = `${size - 1}`] = /^bytes=(\d+)-(\d+)$/.exec(exchange.seen.range ?? "") ?? [];
  const [begin, end] = [Number(first), Math.min(Number(last) + 1, size)];
  const origin = state.casOrigin();
  await exchange.json(
    state.stored.xet.reconstruction(hash, begin, end, origin) ?? inOneXorb(hash, size, begin, end, origin),
  );
}

/** Of a file that nobody sent here in chunks. */
function inOneXorb(hash: string, size: number, begin: number, end: number, origin: string): unknown {
  const chunks = { start: Math.floor(begin / CHUNK), end: chunksOf(end) };
  const bytes = {
    start: chunks.start * (CHUNK + CHUNK_HEADER),
    end: xorbSize(Math.min(chunks.end * CHUNK, size)) - 1,
  };
  return {
    offset_into_first_range: begin - chunks.start * CHUNK,
    terms: [{ hash, unpacked_length: Math.min(chunks.end * CHUNK, size) - chunks.start * CHUNK, range: chunks }],
    xorbs: { [hash]: [{ url: `${origin}/xorbs/${hash}`, ranges: [{ chunks, bytes }] }] },
  };
}
