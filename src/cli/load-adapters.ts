import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Adapter } from "../../adapters/adapter.ts";
import { InputError } from "../errors.ts";
import type { Arguments } from "./arguments.ts";

/** The built-in families and those of `--adapter`, which come first and replace a built-in one of their name. */
export async function loadAdapters(args: Arguments): Promise<readonly Adapter[]> {
  const { adapters } = await import("../../adapters/registry.ts");
  const plugins = await Promise.all(args.list("adapter").map(loadPlugin));
  const own = new Set(plugins.map(({ family }) => family));
  return [...plugins, ...adapters.filter(({ family }) => !own.has(family))];
}

/** The default export of a module. It runs with the rights of this process: the user names it, no checkpoint can. */
async function loadPlugin(file: string): Promise<Adapter> {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new InputError("ADAPTER_INVALID", `--adapter ${file}: ${problem}`, {
      file,
      expected: "a module whose default export is an adapter",
      help: "see docs/add-a-family.md for what an adapter has",
      cause,
    });
  };
  let module: unknown;
  try {
    module = await import(pathToFileURL(resolve(file)).href);
  } catch (cause) {
    return refuse(`cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  const adapter: unknown = typeof module === "object" && module !== null && "default" in module ? module.default : null;
  return isAdapter(adapter) ? adapter : refuse("its default export is no adapter");
}

const LISTS = ["modelTypes", "flavours", "modalities", "layouts", "probes", "sources"] as const;

function isAdapter(value: unknown): value is Adapter {
  if (typeof value !== "object" || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  const lists = LISTS.every((name) => Array.isArray(fields.get(name)));
  return lists && typeof fields.get("family") === "string" && typeof fields.get("open") === "function";
}
