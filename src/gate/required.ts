// Checks that somebody demands: where they were not made, the page fails.
import type { Check } from "../base/check.ts";
import { UsageError } from "../base/errors.ts";
import { nearestKey } from "../base/near.ts";
import { BLOCKS, isBlock } from "./block.ts";

/** `parity` demands that something of it passed; `hub: a tokenizer` that every check passed whose name begins so. */
export type Required = readonly string[];

/** Throws UsageError REQUIRED_UNKNOWN for what begins with no block. */
export function checkRequired(required: Required): void {
  for (const name of required) {
    const [block = ""] = name.split(":", 1);
    if (isBlock(block)) continue;
    const near = nearestKey(block, BLOCKS);
    throw new UsageError("REQUIRED_UNKNOWN", `"${name}" is no check that can be required`, {
      expected: `${BLOCKS.join(", ")}, or the beginning of a check's name: "hub: a tokenizer"`,
      found: name,
      help: near === undefined ? `require one of ${BLOCKS.join(", ")}` : `did you mean "${near}"?`,
    });
  }
}

/** With those that were required and not made as failed ones. @param checks by their names on the page */
export function withRequired(checks: readonly Check[], required: Required): Check[] {
  const unmet = required.filter((name) => !isMet(checks, name));
  const lacking = (check: Check) =>
    check.status === "not checked" && unmet.some((name) => !isBlock(name) && check.name.startsWith(name));
  const blocks = unmet.filter((name) => !checks.some((check) => lacking(check) && check.name.startsWith(name)));
  return [
    ...checks.map(
      (check): Check =>
        lacking(check)
          ? { ...check, status: "failed", detail: `required, and not checked: ${check.detail ?? ""}` }
          : check,
    ),
    ...blocks.map((name): Check => {
      const own = checks.filter((check) => check.name.startsWith(name));
      const why = own.flatMap(({ detail }) => detail ?? []).join("; ");
      return { name: `${name}: required`, status: "failed", detail: why === "" ? "no such check was made" : why };
    }),
  ];
}

function isMet(checks: readonly Check[], name: string): boolean {
  const own = checks.filter((check) => check.name.startsWith(isBlock(name) ? `${name}:` : name));
  if (isBlock(name)) return own.some(({ status }) => status === "passed");
  return own.length > 0 && own.every(({ status }) => status !== "not checked");
}
