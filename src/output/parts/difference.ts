// In what two plans differ, in words.
import { InputError } from "../../base/errors.ts";
import type { PlanDocument } from "./documents.ts";
import { numbersText, type PlanState } from "./survey.ts";

/** The address of a commit on the Hub, and most paths. */
const MOST_SHOWN = 200;

const isShown = (value: string): boolean => value.length <= MOST_SHOWN && !/^[0-9a-f]{64}$/.test(value);

/** Told where what is read differs: the same checkpoint may have another path on another machine. */
const PLACES: ReadonlySet<string> = new Set(["source", "--config"]);

/** What people can change first, then what it changes. */
export function differences(there: PlanDocument, here: PlanDocument): string[] {
  const [before, now] = [there, here].map(({ terms }) => new Map(terms.map(({ name, value }) => [name, value])));
  const differ = (name: string) => before!.get(name) !== now!.get(name);
  const isRead = here.terms.some(({ name }) => name.startsWith("source's") && differ(name));
  const all = new Map([...there.terms, ...here.terms].map(({ name, counts }) => [name, counts]));
  const changed = [...all].filter(([name]) => differ(name) && (isRead || !PLACES.has(name)));
  const [words, effects] = [false, true].map((kind) => changed.filter(([, counts]) => counts === kind));
  return [...words!, ...effects!].map(([name]) => {
    const values = [before!, now!].map((terms) => terms.get(name) ?? "not given");
    return values.every(isShown) ? `${name} (${values[0]} there, ${values[1]} here)` : name;
  });
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
      found: `others in ${differences(other, here).join(", ")}`,
      help: `run every part as the first one was run; or begin anew after \`convert-checkpoint clean ${target}\``,
    },
  );
}
