// One request to the loopback Hub and its answer: what was sent is counted, and injected faults happen here.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Act, Door } from "./faults.ts";
import { bytesOf, type Content } from "./repos.ts";

/** A request as a test sees it afterwards. */
export interface Seen {
  readonly door: Door;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly range: string | null;
  /** The token that came along. */
  readonly token: string | null;
  readonly agent: string | null;
  status: number;
  /** Bytes of the body that were sent; of what was cut off, those before the cut. */
  bytes: number;
  /** Bytes of the request's body that arrived. */
  received: number;
}

export interface File {
  readonly content: Content;
  readonly size: number;
  readonly etag: string;
}

const PIECE = 1 << 18;

export class Exchange {
  readonly url: URL;
  readonly seen: Seen;

  constructor(
    readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    readonly door: Door,
    /** Of the server that was asked, without a slash at its end. */
    readonly origin: string,
    private readonly act: Act | undefined,
  ) {
    this.url = new URL(request.url ?? "/", origin);
    this.seen = {
      door,
      method: request.method ?? "GET",
      path: `${this.url.pathname}${this.url.search}`,
      range: request.headers.range ?? null,
      token: request.headers.authorization?.replace(/^Bearer /, "") ?? null,
      agent: request.headers["user-agent"] ?? null,
      status: 0,
      bytes: 0,
      received: 0,
    };
  }

  get method(): string {
    return this.seen.method;
  }

  /** What a fault says of the etag of this answer. */
  etag(right: string): string {
    return this.act !== undefined && "etag" in this.act ? this.act.etag : right;
  }

  async body(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const taken = this.act !== undefined && "takeOnly" in this.act ? this.act.takeOnly : null;
    for await (const chunk of this.request) {
      chunks.push(Buffer.from(chunk));
      this.seen.received += chunks.at(-1)!.length;
      if (taken === null || this.seen.received < taken) continue;
      if (this.act !== undefined && "hangs" in this.act)
        await new Promise<void>((resolve) => this.request.once("close", resolve));
      this.request.socket.destroy();
      throw new Error("cut");
    }
    const body = Buffer.concat(chunks);
    if (this.act !== undefined && "flipped" in this.act) body[this.act.flipped]! ^= 1;
    return body;
  }

  /** Whether the connection is cut before or after what was asked for is done: the client cannot tell which. */
  async isLost(when: "before" | "after"): Promise<boolean> {
    const isNow = this.act !== undefined && "lost" in this.act && this.act.lost === when;
    if (isNow) this.request.socket.destroy();
    return isNow;
  }

  json(value: unknown, headers: Readonly<Record<string, string>> = {}): Promise<void> {
    return this.send(200, { "Content-Type": "application/json; charset=utf-8", ...headers }, JSON.stringify(value));
  }

  /** As the Hub refuses: the reason stands in headers, and in a body for people. */
  refuse(status: number, code: string | null, message: string): Promise<void> {
    const named = code === null ? {} : { "X-Error-Code": code };
    const headers = { "Content-Type": "application/json; charset=utf-8", ...named, "X-Error-Message": message };
    return this.send(status, headers, JSON.stringify({ error: message }));
  }

  /** Any answer that has no range. */
  async send(status: number, headers: Readonly<Record<string, string>>, body: string | Uint8Array = ""): Promise<void> {
    if (await this.isFaulty()) return;
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    this.head(status, { ...headers, "Content-Length": String(bytes.length) });
    if (this.method === "HEAD") this.response.end();
    else await this.write(bytes.length, (begin, end) => bytes.subarray(begin, end));
  }

  /** A file, or the range of it that was asked for. */
  async sendFile({ content, size, etag }: File, headers: Readonly<Record<string, string>> = {}): Promise<void> {
    if (await this.isFaulty()) return;
    const act: Act = this.act ?? { delayMs: 0 };
    const common = { ...headers, ETag: `"${this.etag(etag)}"`, "Accept-Ranges": "bytes" };
    const asked = "ignoreRange" in act ? null : rangeOf(this.seen.range, size);
    if (asked === "unsatisfiable") {
      return this.plain(416, { ...common, "Content-Range": `bytes */${size}` });
    }
    let { begin, end } = asked ?? { begin: 0, end: size };
    if ("shiftRange" in act) [begin, end] = [begin + act.shiftRange, Math.min(end + act.shiftRange, size)];
    if ("shortBy" in act) end = Math.max(begin, end - act.shortBy);
    const ranged = asked === null ? {} : { "Content-Range": `bytes ${begin}-${end - 1}/${size}` };
    this.head(asked === null ? 200 : 206, { ...common, ...ranged, "Content-Length": String(end - begin) });
    if (this.method === "HEAD") {
      this.response.end();
      return;
    }
    const change = "wrongBytes" in act ? 1 : 0;
    await this.write(end - begin, (from, to) =>
      bytesOf(content, begin + from, begin + to).map((byte) => byte ^ change),
    );
  }

  private plain(status: number, headers: Readonly<Record<string, string>>): void {
    this.head(status, { ...headers, "Content-Length": "0" });
    this.response.end();
  }

  private head(status: number, headers: Readonly<Record<string, string>>): void {
    this.seen.status = status;
    this.response.writeHead(status, headers);
  }

  private async write(length: number, piece: (begin: number, end: number) => Uint8Array): Promise<void> {
    const limit = this.act !== undefined && "cutAfter" in this.act ? Math.min(this.act.cutAfter, length) : length;
    for (let at = 0; at < limit && !this.response.destroyed; at += PIECE) {
      const bytes = piece(at, Math.min(at + PIECE, limit));
      this.seen.bytes += bytes.length;
      if (!this.response.write(bytes)) await drained(this.response);
    }
    if (limit < length) {
      // What was written has to be on its way before the connection goes.
      await new Promise((resolve) => setTimeout(resolve, 20));
      this.response.destroy();
    } else this.response.end();
  }

  /** Whether the answer is a fault's, whole: nothing is done then of what was asked for. */
  async isFaulty(): Promise<boolean> {
    const act = this.act;
    if (act === undefined) return false;
    if ("delayMs" in act) await new Promise((resolve) => setTimeout(resolve, act.delayMs));
    if ("reset" in act) this.request.socket.destroy();
    else if ("status" in act) {
      const body = Buffer.from(act.body ?? "");
      this.head(act.status, { "Content-Length": String(body.length), ...act.headers });
      this.seen.bytes += body.length;
      this.response.end(body);
    } else return false;
    return true;
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

/** Null where all is asked for. One range, as every client of the Hub asks for. */
function rangeOf(header: string | null, size: number): { begin: number; end: number } | "unsatisfiable" | null {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined || last === undefined || first + last === "") return null;
  if (first === "") return { begin: Math.max(0, size - Number(last)), end: size };
  const [begin, end] = [Number(first), last === "" ? size : Math.min(Number(last) + 1, size)];
  return begin >= size || begin >= end ? "unsatisfiable" : { begin, end };
}
