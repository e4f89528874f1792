// The parts of a page: each looks at one matter, and says of every check what it came to.
import type { Check } from "../base/check.ts";
import { InputError } from "../base/errors.ts";
import { failureOf } from "../base/failure.ts";

/** What can be asked for, in the order of the page. Named after the commands, where there is one. */
export const BLOCKS = ["ledger", "config", "identity", "roundtrip", "validate", "parity", "hub"] as const;
export type BlockName = (typeof BLOCKS)[number];

export const isBlock = (name: string): name is BlockName => BLOCKS.some((block) => block === name);

export interface Block {
  readonly name: BlockName;
  /** With names that say what holds, without that of the block. */
  readonly checks: readonly Check[];
  readonly seconds: number;
}

/** A check as the page names it: `parity: every logit is finite`. */
export const named = ({ name: block, checks }: Pick<Block, "name" | "checks">): Check[] =>
  checks.map((check) => ({ ...check, name: `${block}: ${check.name}` }));

export const passed = (name: string, detail?: string): Check => ({
  name,
  status: "passed",
  ...(detail === undefined ? {} : { detail }),
});
export const failed = (name: string, detail: string): Check => ({ name, status: "failed", detail });
export const notChecked = (name: string, because: string): Check => ({ name, status: "not checked", detail: because });

/**
 * What `make` finds. What makes an input unacceptable elsewhere is a failed check here: the other checks of the page go on.
 * Wrong usage, a lack of the environment and defects of ours end the run.
 */
export async function attempt<T>(
  name: string,
  make: () => Promise<T> | T,
): Promise<{ readonly made: T; readonly failure: null } | { readonly made: null; readonly failure: Check }> {
  try {
    return { made: await make(), failure: null };
  } catch (error) {
    if (failureOf(error).exitCode !== 3) throw error;
    return { made: null, failure: isUnseen(error) ? notChecked(name, wordsOf(error)) : failed(name, wordsOf(error)) };
  }
}

/** What a layout has no graph for, nobody saw. */
const isUnseen = (error: unknown): boolean => error instanceof InputError && error.code === "NO_GRAPH";

export function wordsOf(error: unknown): string {
  const { code, message, details } = failureOf(error);
  const { expected, found, help } = details;
  const values = [expected && `expected ${expected}`, found && `found ${found}`].filter(Boolean).join(", ");
  return `${code}: ${message}${values === "" ? "" : ` (${values})`}; ${help}`;
}

/** A few of a list, for the line of a check: documents have all. */
export function some(items: readonly string[], most = 3): string {
  const left = items.length - most;
  return left <= 0 ? items.join("; ") : `${items.slice(0, most).join("; ")}; and ${left.toLocaleString("en-US")} more`;
}

export const count = (n: number, one: string, many = `${one}s`): string =>
  `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;
