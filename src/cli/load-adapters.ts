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

/** The default export of a module, or what it makes of the kit for adapters. It runs with the rights of this process: the user names it, no checkpoint can. */
async function loadPlugin(file: string): Promise<Adapter> {
  const { kit } = await import("../../adapters/plugin.ts");
  let adapter: unknown;
  const refuse = (problem: string, cause?: unknown): never => {
    throw new InputError("ADAPTER_INVALID", `--adapter ${file}: ${problem}`, {
      file,
      expected: "a module whose default export is an adapter, or a function that makes one",
      help: "see docs/add-a-family.md for what an adapter has",
      cause,
    });
  };
  try {
    const module: unknown = await import(pathToFileURL(resolve(file)).href);
    const found = typeof module === "object" && module !== null && "default" in module ? module.default : null;
    adapter = typeof found === "function" ? found(kit) : found;
  } catch (cause) {
    return refuse(`cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
  return isAdapter(adapter) ? adapter : refuse("its default export is no adapter, nor makes one");
}

const LISTS = ["modelTypes", "flavours", "modalities", "layouts", "graphs", "probes", "sources"] as const;

function isAdapter(value: unknown): value is Adapter {
  if (typeof value !== "object" || value === null) return false;
  const fields = new Map<string, unknown>(Object.entries(value));
  const lists = LISTS.every((name) => Array.isArray(fields.get(name)));
  return lists && typeof fields.get("family") === "string" && typeof fields.get("open") === "function";
}
