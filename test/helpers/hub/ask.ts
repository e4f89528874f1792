// What a test asks of the thread that the loopback Hub runs in.
import type { Fault } from "./faults.ts";
import type { Repo, RepoSetup } from "./repos.ts";
import type { HubOptions } from "./server.ts";

export type Ask =
  | { readonly kind: "start"; readonly options: HubOptions }
  | { readonly kind: "put"; readonly setup: RepoSetup }
  | { readonly kind: "token"; readonly token: string; readonly right: "read" | "write" | "ungranted" | null }
  | { readonly kind: "faults"; readonly faults: readonly Fault[] }
  | { readonly kind: "seen" }
  | { readonly kind: "proxied" }
  | { readonly kind: "forget" }
  | { readonly kind: "repo"; readonly type: Repo["type"]; readonly id: string }
  | { readonly kind: "stop" };
