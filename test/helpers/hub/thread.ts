// The loopback Hub in a thread of its own: whoever reads from it synchronously would block it otherwise.
import { parentPort } from "node:worker_threads";
import type { Ask } from "./ask.ts";
import { HubServer } from "./server.ts";

let server: HubServer | undefined;

async function act(ask: Ask): Promise<unknown> {
  if (ask.kind === "start") {
    server = new HubServer(ask.options);
    await server.start();
    return {
      url: server.originOf("hub"),
      cdn: server.originOf("cdn"),
      cas: server.originOf("cas"),
      proxy: server.originOf("proxy"),
    };
  }
  if (server === undefined) throw new Error("the Hub was not started");
  switch (ask.kind) {
    case "put":
      return server.repos.put(ask.setup).id;
    case "token":
      if (ask.right === null) server.tokens.delete(ask.token);
      else server.tokens.set(ask.token, ask.right);
      return null;
    case "faults":
      server.faults.set(ask.faults);
      return null;
    case "seen":
      return server.seen;
    case "proxied":
      return server.proxy.seen;
    case "forget":
      server.seen = [];
      server.proxy.seen = [];
      return null;
    case "repo": {
      const repo = server.repos.find(ask.type, ask.id);
      return repo === undefined ? null : { ...repo };
    }
    case "stop":
      return server.stop();
    default:
      return ask satisfies never;
  }
}

parentPort?.on("message", ({ id, ask }: { id: number; ask: Ask }) => {
  act(ask).then(
    (answer) => parentPort?.postMessage({ id, answer }),
    (error: unknown) => parentPort?.postMessage({ id, error: String(error instanceof Error ? error.stack : error) }),
  );
});
