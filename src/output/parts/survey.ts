// What is there of the parts for a target: which plans, and how far each part of them is.
import { join } from "node:path";
import { entryAt } from "../exchange.ts";
import { entriesOf } from "../home.ts";
import { type PlanDocument, readPlan } from "./documents.ts";
import { doneName, outName, type PartNumber } from "./place.ts";
import { type Attempt, attemptsAt, clockOf, mayRun } from "./run.ts";

export interface PartState extends PartNumber {
  readonly state: "done" | "running" | "stopped" | "missing";
  /** Attempts that are not done, those that last gave a sign last. */
  readonly attempts: readonly Attempt[];
}

export interface PlanState extends PlanDocument {
  readonly parts: readonly PartState[];
  /** Whether the output is still here. */
  readonly hasOutput: boolean;
}

/**
 * Plans of which there is something, in the order of their names. Throws InputError PARTS_DAMAGED.
 * @param touches whether a file may be made for a moment: a network file system then shows the folder as it is, and its clock
 */
export function surveyParts(home: string, touches = true): PlanState[] {
  if (entriesOf(home).length === 0) return [];
  const now = touches ? clockOf(home) : Date.now();
  const names = new Set(entriesOf(home));
  const plans = [...names].filter((name) => /^plan-[0-9a-f]{12}\.json$/.test(name));
  return plans.flatMap((name) => {
    const document = readPlan(join(home, name));
    return document === null ? [] : [stateOf(home, document, names, now)];
  });
}

function stateOf(home: string, document: PlanDocument, names: ReadonlySet<string>, now: number): PlanState {
  const { plan, of } = document;
  const begun = new Set([...names].filter((name) => name.endsWith(".journal")).map((name) => name.split(".")[0]));
  const parts = Array.from({ length: of }, (_, i): PartState => {
    const part = { number: i + 1, of };
    const done = doneName(plan, part);
    // Asked for by name: a listing may be older.
    if (names.has(done) || entryAt(join(home, done)) !== null) return { ...part, state: "done", attempts: [] };
    if (!begun.has(done.replace(/\.json$/, ""))) return { ...part, state: "missing", attempts: [] };
    const attempts = attemptsAt(home, plan, part, now);
    return { ...part, state: attempts.some(mayRun) ? "running" : "stopped", attempts };
  });
  return { ...document, parts, hasOutput: names.has(outName(plan)) };
}

/** Numbers as people write them: `1, 4-7 and 12`. */
export function numbersText(parts: readonly Pick<PartNumber, "number">[]): string {
  const runs: [number, number][] = [];
  for (const { number } of parts) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  const words = runs.flatMap(([a, b]) => (b - a === 1 ? [`${a}`, `${b}`] : a === b ? [`${a}`] : [`${a}-${b}`]));
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** What is not done, in words; null where all is. */
export function unfinishedText(parts: readonly PartState[]): string | null {
  const words = (["missing", "stopped", "running"] as const).flatMap((state) => {
    const those = parts.filter((part) => part.state === state);
    if (those.length === 0) return [];
    const [only] = those;
    const detail = those.length === 1 && only !== undefined ? detailOf(only) : "";
    return [`${numbersText(those)} ${STATES[state]}${detail}`];
  });
  return words.length === 0 ? null : words.join("; ");
}

const STATES = { missing: "not begun", stopped: "stopped", running: "under way" } as const;

function detailOf({ attempts }: PartState): string {
  const last = attempts.at(-1);
  if (last === undefined) return "";
  const bytes = [...last.progress.values()].reduce((sum, each) => sum + each.bytes, 0);
  const said = last.failed ?? `${bytes} bytes on disk, last sign ${Math.round(last.silentMs / 1000)} s ago`;
  return ` (on ${last.host.name || "an unknown machine"}: ${said})`;
}
