// How threads of `convert` come to the plan of its arguments.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { CrewOptions } from "../../convert/crew/crew.ts";
import type { ConversionOptions } from "../../convert/plan.ts";
import type { Arguments } from "../arguments.ts";

/** Undefined where the command is not in one piece, as in its own tests: then one thread does all. */
export function crewOf(
  args: Arguments,
  target: string,
  { adapters: _, ...options }: ConversionOptions,
): CrewOptions | undefined {
  const module = fileURLToPath(new URL("./convert-thread.js", import.meta.url));
  const from = { source: args.required("source"), target, adapters: args.list("adapter"), options };
  return existsSync(module) ? { module, from } : undefined;
}
