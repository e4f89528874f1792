// Faults that a test injects into answers of the loopback Hub.

/** Which of the servers' doors a request came to. */
export type Door = "api" | "resolve" | "cdn" | "cas" | "upload";

export interface Fault {
  /** Requests it is for; all unless given. */
  readonly door?: Door;
  readonly method?: string;
  /** A regular expression that the path with its query must match. */
  readonly path?: string;
  /** Requests that match and are answered rightly before it begins; 0 unless given. */
  readonly after?: number;
  /** How often it happens; 1 unless given. */
  readonly times?: number;
  readonly act: Act;
}

export type Act =
  /** An answer of its own. */
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** The connection is cut after so many bytes of the body. */
  | { readonly cutAfter: number }
  /** The connection is cut before anything is answered. */
  | { readonly reset: true }
  /** Another range than the one that was asked for, with the headers of that other one. */
  | { readonly shiftRange: number }
  /** The right headers, and other bytes. */
  | { readonly wrongBytes: true }
  /** All of the file with status 200, as if the header `Range` were not there. */
  | { readonly ignoreRange: true }
  /** The body ends early, and its headers say so: `Content-Length` is less than what was asked for. */
  | { readonly shortBy: number }
  /** Another etag, of the answer and of the linked file. */
  | { readonly etag: string }
  /** Of the request's body no more is taken than this; then the connection is cut, or nothing happens any more. */
  | { readonly takeOnly: number; readonly hangs?: true }
  /** A byte of the request's body arrives as another one. */
  | { readonly flipped: number }
  /** The connection is cut before or after what was asked for is done. */
  | { readonly lost: "before" | "after" }
  /** Nothing is answered for so long. */
  | { readonly delayMs: number };

export interface Asked {
  readonly door: Door;
  readonly method: string;
  readonly path: string;
}

/** Counts the requests that each fault has met. */
export class Faults {
  private active: { readonly fault: Fault; met: number }[] = [];

  set(faults: readonly Fault[]): void {
    this.active = faults.map((fault) => ({ fault, met: 0 }));
  }

  /** What is to happen to this request: the first fault that is for it. */
  next(asked: Asked): Act | undefined {
    let chosen: Act | undefined;
    for (const entry of this.active) {
      const { door, method, path, after = 0, times = 1, act } = entry.fault;
      if (door !== undefined && door !== asked.door) continue;
      if (method !== undefined && method !== asked.method) continue;
      if (path !== undefined && !new RegExp(path).test(asked.path)) continue;
      entry.met += 1;
      if (chosen === undefined && entry.met > after && entry.met <= after + times) chosen = act;
    }
    return chosen;
  }
}
