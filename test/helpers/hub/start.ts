// A Hub on this machine for a test: its repositories, the faults of its answers, and what was asked of it.
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { buildSync } from "esbuild";
import type { Ask } from "./ask.ts";
import type { Seen } from "./exchange.ts";
import type { Fault } from "./faults.ts";
import type { FileContents, Repo, RepoSetup } from "./repos.ts";
import type { HubOptions } from "./server.ts";

let code: string | undefined;

/** The thread's code as one text: Node runs no TypeScript in a thread. */
function threadCode(): string {
  const entry = fileURLToPath(new URL("./thread.ts", import.meta.url));
  const built = buildSync({ entryPoints: [entry], bundle: true, write: false, platform: "node", format: "cjs" });
  return built.outputFiles[0]!.text;
}

export class Hub {
  /** What `HF_ENDPOINT` is to be. */
  url = "";
  /** Where LFS objects are fetched from. */
  cdn = "";
  cas = "";
  /** What a variable like `HTTP_PROXY` may be. */
  proxy = "";
  private readonly worker: Worker;
  private readonly waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (error: Error) => void }>();
  private asked = 0;

  private constructor() {
    code ??= threadCode();
    this.worker = new Worker(code, { eval: true, execArgv: [] });
    this.worker.on("message", ({ id, answer, error }: { id: number; answer?: unknown; error?: string }) => {
      const { resolve, reject } = this.waiting.get(id)!;
      this.waiting.delete(id);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    });
  }

  static async start(options: HubOptions = {}): Promise<Hub> {
    const hub = new Hub();
    Object.assign(hub, await hub.ask({ kind: "start", options }));
    return hub;
  }

  /** Makes a repository, or one more commit of it. Gives the commit's hash. */
  async put(id: string, files: FileContents, setup: Omit<RepoSetup, "id" | "files"> = {}): Promise<string> {
    return String(await this.ask({ kind: "put", setup: { id, files, ...setup } }));
  }

  /** A token that is good from now on; null where it no longer is. */
  async token(token: string, right: "read" | "write" | "ungranted" | null): Promise<void> {
    await this.ask({ kind: "token", token, right });
  }

  /** The faults of all requests from now on, in place of those before. */
  async faults(...faults: readonly Fault[]): Promise<void> {
    await this.ask({ kind: "faults", faults });
  }

  /** All requests since the last `forget`, in their order. */
  async seen(): Promise<readonly Seen[]> {
    return (await this.ask({ kind: "seen" })) as readonly Seen[];
  }

  /** Bytes of all answers' bodies since the last `forget`. */
  async bytes(): Promise<number> {
    return (await this.seen()).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** What the proxy was asked for since the last `forget`. */
  async proxied(): Promise<readonly string[]> {
    return (await this.ask({ kind: "proxied" })) as readonly string[];
  }

  async forget(): Promise<void> {
    await this.ask({ kind: "forget" });
  }

  /** What a repository holds now; null where there is none. */
  async repo(id: string, type: Repo["type"] = "model"): Promise<Repo | null> {
    return (await this.ask({ kind: "repo", type, id })) as Repo | null;
  }

  async stop(): Promise<void> {
    await this.ask({ kind: "stop" });
    await this.worker.terminate();
  }

  private ask(ask: Ask): Promise<unknown> {
    this.asked += 1;
    const id = this.asked;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ask });
    });
  }
}
