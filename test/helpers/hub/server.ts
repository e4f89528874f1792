// A Hub on this machine: three servers, because tokens must not go from one host to another.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Exchange, type Seen } from "./exchange.ts";
import { type Door, Faults } from "./faults.ts";
import { HttpProxy } from "./proxy.ts";
import { readRoutes } from "./read.ts";
import { Repos } from "./repos.ts";
import type { Route, State } from "./state.ts";
import { casRoutes, cdnRoutes } from "./storage.ts";
import { Stored, storeRoutes } from "./stored.ts";
import { writeRoutes } from "./write.ts";
import { xetRoutes } from "./xet.ts";

/** Asked in turn. */
const HUB_ROUTES: readonly Route[] = [readRoutes, writeRoutes];
const CDN_ROUTES: readonly Route[] = [cdnRoutes, storeRoutes];
const CAS_ROUTES: readonly Route[] = [casRoutes, xetRoutes];

export interface HubOptions {
  readonly pageSize?: number;
  readonly resolveCache?: boolean;
  /** An LFS object with more bytes is sent in parts of so many. */
  readonly partBytes?: number;
  /** Whether uploads go to Xet storage, where the client can. */
  readonly xetUploads?: boolean;
}

export class HubServer {
  readonly repos = new Repos();
  readonly tokens: State["tokens"] = new Map();
  readonly faults = new Faults();
  readonly proxy = new HttpProxy();
  seen: Seen[] = [];
  private readonly servers: Server[] = [];
  private readonly origins = new Map<string, string>();
  private readonly state: State;

  constructor({ pageSize = 1000, resolveCache = true, partBytes = 1 << 30, xetUploads = false }: HubOptions) {
    this.state = {
      repos: this.repos,
      tokens: this.tokens,
      stored: new Stored(partBytes, xetUploads),
      pageSize,
      resolveCache,
      cdnOrigin: () => this.originOf("cdn"),
      casOrigin: () => this.originOf("cas"),
    };
  }

  originOf(name: "hub" | "cdn" | "cas" | "proxy"): string {
    return this.origins.get(name) ?? "";
  }

  async start(): Promise<void> {
    // Another name for this machine is another host.
    await this.listen("hub", "127.0.0.1", HUB_ROUTES, (path) => (/^\/api\//.test(path) ? "api" : "resolve"));
    await this.listen("cdn", "localhost", CDN_ROUTES, () => "cdn");
    await this.listen("cas", "localhost", CAS_ROUTES, () => "cas");
    this.origins.set("proxy", await this.proxy.start());
  }

  async stop(): Promise<void> {
    await this.proxy.stop();
    for (const server of this.servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  private async listen(name: string, host: string, routes: readonly Route[], doorOf: (path: string) => Door) {
    const server = createServer((request, response) => {
      const path = request.url ?? "/";
      const door = request.method === "PUT" ? "upload" : doorOf(path);
      const act = this.faults.next({ door, method: request.method ?? "GET", path });
      const exchange = new Exchange(request, response, door, this.origins.get(name) ?? "", act);
      this.seen.push(exchange.seen);
      answer(exchange, routes, this.state).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else response.writeHead(500).end(String(error instanceof Error ? error.stack : error));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    const { port } = server.address() as AddressInfo;
    this.servers.push(server);
    this.origins.set(name, `http://${host}:${port}`);
  }
}

async function answer(exchange: Exchange, routes: readonly Route[], state: State): Promise<void> {
  if (exchange.method !== "GET" && exchange.method !== "HEAD" && (await exchange.isFaulty())) return;
  for (const route of routes) if (await route(exchange, state)) return;
  await exchange.refuse(404, null, "Sorry, we can't find the page you are looking for.");
}
