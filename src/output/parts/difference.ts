// In what two plans differ, in words.
import { InputError } from "../../base/errors.ts";
import type { PlanDocument } from "./documents.ts";
import { numbersText, type PlanState } from "./survey.ts";

const isShown = (value: string): boolean => value.length <= 60 && !/^[0-9a-f]{64}$/.test(value);

/** What people can change first, then what it changes. */
export function differences(there: PlanDocument, here: PlanDocument): string[] {
  const values = new Map(there.terms.map(({ name, value }) => [name, value]));
  const changed = here.terms.filter(({ name, value }) => values.get(name) !== value);
  const own = new Set(here.terms.map(({ name }) => name));
  const words = changed.map(({ name, value }) => {
    const other = values.get(name) ?? "not given";
    return isShown(value) && isShown(other) ? `${name} (${other} there, ${value} here)` : name;
  });
  const gone = there.terms.filter(({ name }) => !own.has(name)).map(({ name, value }) => `${name} (${value} there)`);
  const isWord = (text: string) => here.terms.some(({ name, counts }) => !counts && text.startsWith(`${name} (`));
  const all = [...words, ...gone];
  return [...all.filter(isWord), ...all.filter((text) => !isWord(text))];
}

/** Throws InputError PARTS_OF_ANOTHER_PLAN where parts of another plan are there. */
export function refuseOthers(target: string, here: PlanDocument, plans: readonly PlanState[]): void {
  const other = plans.find(({ plan, parts }) => plan !== here.plan && parts.some(({ state }) => state !== "missing"));
  if (other === undefined) return;
  throw anotherPlan(target, other, here);
}

export function anotherPlan(target: string, other: PlanState, here: PlanDocument): InputError {
  const begun = other.parts.filter(({ state }) => state !== "missing");
  const which = `${begun.length === 1 ? "part" : "parts"} ${numbersText(begun)} of ${other.of}`;
  return new InputError(
    "PARTS_OF_ANOTHER_PLAN",
    `${target}: ${which} belong${begun.length === 1 ? "s" : ""} to another plan`,
    {
      file: target,
      expected: "parts of one plan: the same source, options, number of parts and version",
      found: `another ${differences(other, here).join(", ")}`,
      help: `run every part as the first one was run; or begin anew after \`convert-checkpoint clean ${target}\``,
    },
  );
}
