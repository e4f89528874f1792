// The `fetch` that the Hub's client reads with: it asks again where that may help, goes on at the byte where an answer broke,
// and hands out no byte of another range or of another content.
import { ConvertCheckpointError } from "../../base/errors.ts";
import { fileChanged } from "../../formats/io/file-faults.ts";
import type { HubSettings } from "../settings.ts";
import { type Followed, follow } from "./follow.ts";
import { addressOf } from "./network.ts";
import { MOST_TRIES, PASSING, pauseMs, sleep } from "./pauses.ts";
import { type Asked, failing, refusal, unreachable } from "./refusals.ts";

/** What is known of the file behind an address. */
export interface Known extends Asked {
  readonly size: number;
  /** What its etag may be by the list of the repository: each is a hash of the content. */
  readonly hashes: readonly string[];
}

interface Range {
  readonly begin: number;
  /** Exclusive. */
  readonly end: number;
}

/** Whoever ignores ranges sends all that comes before: so much of it is passed over. */
const MOST_SKIPPED = 1 << 24;
/** A name that is wrong, or no network, shows at once. */
const TRIES_TO_MEET = 3;
const JOINED_BYTES = 1 << 18;
const HASH = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
/** Asks what a file is, not for a part of it. */
const IS_QUESTION = /vnd\.xet-fileinfo|application\/json/;

export class Reader {
  /** By the address that is asked; a file that the list of its repository names. */
  private readonly known = new Map<string, Known>();
  /** The etag of the first answer, which all others must have. */
  private readonly etags = new Map<string, string>();
  /** Whether anybody ever answered. */
  private isMet = false;

  constructor(
    private readonly network: typeof fetch,
    private readonly settings: HubSettings,
  ) {}

  /** @param url as URL writes it */
  expect(url: string, known: Known): void {
    this.known.set(url, known);
  }

  /**
   * A `fetch` for one question. Throws ConvertCheckpointError.
   * @param onFault told of what is thrown: streams of the client hand on its text alone
   */
  fetchFor(asked: Asked, onFault: (error: ConvertCheckpointError) => void = () => {}): typeof fetch {
    return async (input, init) => {
      const url = new URL(addressOf(input)).href;
      const known = this.known.get(url);
      try {
        const range = rangeOf(init) ?? (known === undefined ? null : { begin: 0, end: known.size });
        const isQuestion = IS_QUESTION.test(new Headers(init?.headers).get("Accept") ?? "");
        if (range === null || isQuestion || url.includes("/reconstructions/"))
          return await this.whole(url, init, asked);
        return await this.part(url, init, range, known ?? asked, onFault);
      } catch (error) {
        if (error instanceof Handed) return error.response;
        if (error instanceof ConvertCheckpointError) onFault(error);
        throw error;
      }
    };
  }

  /** An answer of some kilobytes, whole: it is asked for anew where it breaks. */
  private async whole(url: string, init: RequestInit | undefined, asked: Asked): Promise<Response> {
    return this.persistently(asked, async () => {
      const { response, etag, url: from } = await this.ask(url, init, asked);
      this.compare(url, etag);
      const chunks: Uint8Array[] = [];
      for await (const chunk of chunksOf(response.body, this.settings.timeoutMs)) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const { status, statusText, headers } = response;
      if (body.byteLength < Number(headers.get("Content-Length") ?? 0))
        throw new Error(`${from}: an answer that ends early`);
      return new Response(status === 204 || status === 304 ? null : body, { status, statusText, headers });
    });
  }

  private async part(
    url: string,
    init: RequestInit | undefined,
    range: Range,
    asked: Asked | Known,
    onFault: (error: ConvertCheckpointError) => void,
  ): Promise<Response> {
    const bytes = this.bytesOf(url, init, range, asked);
    // The first bytes are there before the client gets an answer: what it refuses is refused as such.
    let first: IteratorResult<Uint8Array> | undefined = await bytes.next();
    const body = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          try {
            const { done, value } = first ?? (await bytes.next());
            first = undefined;
            if (done === true) controller.close();
            else controller.enqueue(value);
          } catch (error) {
            if (error instanceof ConvertCheckpointError) onFault(error);
            controller.error(error);
          }
        },
        cancel: async () => void (await bytes.return(undefined)),
      },
      { highWaterMark: 0 },
    );
    const total = "size" in asked ? asked.size : "*";
    const headers = {
      "Content-Range": `bytes ${range.begin}-${range.end - 1}/${total}`,
      "Content-Length": `${range.end - range.begin}`,
    };
    return new Response(body, { status: 206, headers });
  }

  /** The bytes of the range, in order, each once, however many answers that takes. */
  private async *bytesOf(
    url: string,
    init: RequestInit | undefined,
    { begin, end }: Range,
    asked: Asked | Known,
  ): AsyncGenerator<Uint8Array, undefined> {
    let at = begin;
    let failures = 0;
    while (at < end) {
      const opened = await this.persistently(
        asked,
        async () => {
          const headers = new Headers(init?.headers);
          headers.set("Range", `bytes=${at}-${end - 1}`);
          const followed = await this.ask(url, { ...init, headers }, asked);
          const { body } = followed.response;
          try {
            this.compare(url, followed.etag);
            return { body, ...this.placeOf(followed, { begin: at, end }, asked) };
          } catch (error) {
            await body?.cancel();
            throw error;
          }
        },
        failures,
      );
      const before = at;
      let { skip } = opened;
      let reason: unknown = new Error("an answer that ends early");
      try {
        for await (const chunk of chunksOf(opened.body, this.settings.timeoutMs)) {
          const skipped = Math.min(skip, chunk.length);
          skip -= skipped;
          const bytes = chunk.subarray(skipped, skipped + Math.min(opened.end, end) - at);
          at += bytes.length;
          if (bytes.length > 0) yield bytes;
          if (at >= Math.min(opened.end, end)) break;
        }
      } catch (error) {
        reason = error;
      }
      if (at >= end) break;
      failures = at > before && !(reason instanceof Slow) ? 1 : failures + 1;
      if (failures >= MOST_TRIES) throw failing(asked.file, new URL(url).origin, String(reason), reason);
      await sleep(pauseMs(failures, null) ?? 0);
    }
    return undefined;
  }

  /** What an answer to a range holds. Throws Error where it is none that can be used, InputError where the file is another. */
  private placeOf(
    { response, url }: Followed,
    { begin, end }: Range,
    asked: Asked | Known,
  ): { skip: number; end: number } {
    const { status, headers } = response;
    const size = "size" in asked ? asked.size : null;
    if (status === 206) {
      const header = headers.get("Content-Range") ?? "";
      const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header) ?? [];
      if (total !== undefined && total !== "*" && size !== null && Number(total) !== size) {
        throw this.changed(asked, `${size} bytes`, `${total} bytes`);
      }
      if (first === undefined || Number(first) !== begin || Number(last) >= end) {
        throw new Error(`${url}: another range than bytes ${begin}-${end - 1}: ${header || "none named"}`);
      }
      return { skip: 0, end: Number(last) + 1 };
    }
    if (status !== 200) throw new Error(`${url}: status ${status} for a range`);
    const length = headers.get("Content-Length");
    if (size !== null && length !== null && Number(length) !== size) {
      throw this.changed(asked, `${size} bytes`, `${length} bytes`);
    }
    if (begin > MOST_SKIPPED) throw new Error(`${url}: gives all of a file where a range was asked for`);
    return { skip: begin, end };
  }

  private compare(url: string, etag: string | null): void {
    const known = this.known.get(url);
    if (etag === null || known === undefined) return;
    const first = this.etags.get(url);
    const isOther = first === undefined ? HASH.test(etag) && !known.hashes.includes(etag) : first !== etag;
    if (isOther) throw this.changed(known, first ?? known.hashes[0] ?? "", etag);
    this.etags.set(url, etag);
  }

  private changed({ file }: Asked, expected: string, found: string) {
    return fileChanged(file, "the file on the Hub has changed", expected, found);
  }

  /** An answer of whoever is asked first. Throws what refuses for good, and Passing where it may not later. */
  private async ask(url: string, init: RequestInit | undefined, asked: Asked | Known): Promise<Followed> {
    const followed = await follow(this.network, this.settings, url, init);
    const { response } = followed;
    this.isMet = true;
    if (response.ok || response.status === 304) return followed;
    const isHub = new URL(followed.url).origin === new URL(this.settings.endpoint).origin;
    const isSigned = followed.url !== url && !isHub;
    if (response.status === 416 && "size" in asked) {
      await response.body?.cancel();
      const [, size = "another size"] = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "") ?? [];
      throw this.changed(asked, `${asked.size} bytes`, `${size} bytes`);
    }
    // An address of storage elsewhere is good for some time: a new one is had from the Hub.
    if (PASSING.has(response.status) || (isSigned && response.status === 403)) {
      await response.body?.cancel();
      throw new Passing(`${new URL(followed.url).origin} answers with status ${response.status}`, response.headers);
    }
    // The client knows what to do about storage that it asks itself.
    if (!isHub && !isSigned) throw new Handed(response);
    throw await refusal(response, asked, this.settings);
  }

  /** @param failures that came before, without progress */
  private async persistently<T>(asked: Asked, call: () => Promise<T>, failures = 0): Promise<T> {
    for (let tries = failures + 1; ; tries += 1) {
      try {
        return await call();
      } catch (error) {
        if (error instanceof ConvertCheckpointError || error instanceof Handed) throw error;
        const pause = pauseMs(tries, error instanceof Passing ? error.headers : null);
        if (tries >= (this.isMet ? MOST_TRIES : TRIES_TO_MEET) || pause === null) {
          const place = this.settings.endpoint;
          if (error instanceof TypeError) throw unreachable(asked.file, place, error);
          throw failing(asked.file, place, error instanceof Error ? error.message : String(error), error);
        }
        await sleep(pause);
      }
    }
  }
}

/** An answer that the client is to see. */
class Handed extends Error {
  constructor(readonly response: Response) {
    super(`status ${response.status}`);
  }
}

class Passing extends Error {
  constructor(
    message: string,
    readonly headers: Headers,
  ) {
    super(message);
  }
}

function rangeOf(init: RequestInit | undefined): Range | null {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get("Range") ?? "") ?? [];
  return first === undefined ? null : { begin: Number(first), end: Number(last) + 1 };
}

/** Bytes drip in. What came of them is right, and another connection may be better. */
class Slow extends Error {}

/** What is to come of an answer while its reader waits `SLOW_TIMEOUTS` times as long as no byte at all may take. */
const LEAST_BYTES = 1 << 14;
const SLOW_TIMEOUTS = 6;

/** Throws Slow. @param timeoutMs how long the next byte may take */
function pace(timeoutMs: number): (waitedMs: number, bytes: number) => void {
  let [waited, came] = [0, 0];
  return (waitedMs, bytes) => {
    waited += waitedMs;
    came += bytes;
    if (waited < SLOW_TIMEOUTS * timeoutMs) return;
    if (came < LEAST_BYTES) throw new Slow(`${came} bytes in ${Math.round(waited / 1000)} seconds: too slow to go on`);
    [waited, came] = [0, 0];
  };
}

/** Joined to some hundred kilobytes: each hop of a chunk from stream to stream costs as much as copying that. */
async function* chunksOf(body: ReadableStream<Uint8Array> | null, timeoutMs: number): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  if (reader === undefined) return;
  const keepsPace = pace(timeoutMs);
  const next = async () => {
    const begin = performance.now();
    const read = await reader.read();
    // The time of whoever takes the bytes does not count.
    if (!read.done) keepsPace(performance.now() - begin, read.value.length);
    return read;
  };
  let joined = new Uint8Array(JOINED_BYTES);
  let length = 0;
  const take = () => {
    const taken = joined.subarray(0, length);
    [joined, length] = [new Uint8Array(JOINED_BYTES), 0];
    return taken;
  };
  try {
    for (;;) {
      const { done, value } = await next().catch((error: unknown) => ({ done: error, value: undefined }));
      if (value !== undefined && value.length + length <= JOINED_BYTES) {
        joined.set(value, length);
        length += value.length;
        continue;
      }
      // What came before an answer broke was right.
      if (length > 0) yield take();
      if (value !== undefined) yield value;
      else if (done === true) return;
      else throw done;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
