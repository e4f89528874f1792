// Families from outside, which a user names: modules written as docs/add-a-family.md shows.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ConvertCheckpointError, InputError } from "../src/base/errors.ts";
import type { Adapter } from "../src/family/adapter.ts";
import { checkAdapter } from "../src/family/lacking.ts";
import { adapters } from "./registry.ts";

/**
 * The built-in families and those of `modules`, which come first and replace a built-in one of their name.
 *
 * @param modules paths of modules, from the working directory
 * @throws InputError ADAPTER_INVALID for a module that cannot be loaded or gives no adapter
 */
export async function loadAdapters(modules: readonly string[] = []): Promise<readonly Adapter[]> {
  const plugins = await Promise.all(modules.map(loadPlugin));
  const own = new Set(plugins.map(({ family }) => family));
  return [...plugins, ...adapters.filter(({ family }) => !own.has(family))];
}

/** The default export of a module, or what it makes of the kit for adapters. It runs with the rights of this process: the user names it, no checkpoint can. */
async function loadPlugin(file: string): Promise<Adapter> {
  const { kit } = await import("./plugin.ts");
  try {
    const module: unknown = await import(pathToFileURL(resolve(file)).href);
    const found = typeof module === "object" && module !== null && "default" in module ? module.default : null;
    const adapter: unknown = typeof found === "function" ? found(kit) : found;
    checkAdapter(adapter);
    return guarded(adapter, file);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const problem = cause instanceof InputError ? message : `cannot be loaded: ${message}`;
    throw new InputError("ADAPTER_INVALID", `--adapter ${file}: ${problem}`, {
      file,
      expected: "a module whose default export is an adapter, or a function that makes one",
      help: "see docs/add-a-family.md for what an adapter has",
      cause,
    });
  }
}

/** Fields of a family whose objects have functions of their own. */
const LAYOUTS: ReadonlySet<string | symbol> = new Set(["hf", "layouts"]);

/** Methods that give a family. */
const MAKE_FAMILIES: ReadonlySet<string | symbol> = new Set(["open", "at"]);

/** What a plugin throws that is no error of ours is the plugin's fault, and named as such. */
function guarded<T extends object>(target: T, file: string): T {
  // The proxy of a frozen object could not give other functions than that object's own.
  const heir: T = Object.create(target);
  return new Proxy(heir, {
    get(_, name) {
      const value: unknown = Reflect.get(target, name);
      if (LAYOUTS.has(name) && isObject(value))
        return Array.isArray(value) ? value.map((layout) => guarded(layout, file)) : guarded(value, file);
      if (name === "vision") return guardedData(value, "vision", target, file);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        const result = called(value, target, args, String(name), file);
        return MAKE_FAMILIES.has(name) && isObject(result) ? guarded(result, file) : result;
      };
    },
  });
}

/** Data in which functions lie, and what these give: an image processor. */
function guardedData(value: unknown, name: string, owner: object, file: string): unknown {
  if (typeof value === "function") {
    return (...args: unknown[]) => guardedData(called(value, owner, args, name, file), name, owner, file);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const fields = Object.entries(value);
  return Object.fromEntries(fields.map(([field, inner]) => [field, guardedData(inner, field, value, file)]));
}

function called(method: CallableFunction, owner: object, args: unknown[], name: string, file: string): unknown {
  try {
    return Reflect.apply(method, owner, args);
  } catch (cause) {
    if (cause instanceof ConvertCheckpointError) throw cause;
    throw new InputError("ADAPTER_FAILED", `--adapter ${file}: its ${name}() failed: ${cause}`, {
      file,
      help: "correct the adapter; DEBUG=1 shows where",
      cause,
    });
  }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
