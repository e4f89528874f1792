// The hidden folder beside a target that its parts are made in, by processes that share nothing but the file system: its
// name, and the names in it (docs/parts.md). Every name tells the plan, so that two plans never write to one file.
import fs from "node:fs";
import { join } from "node:path";
import { entriesOf, hiddenBeside } from "../home.ts";
import { makeFolders, writing } from "../staging-errors.ts";

const SUFFIX = ".convert-checkpoint-parts";

/** Where the parts for an absolute path are made. */
export const partsHomeOf = (target: string): string => hiddenBeside(target, SUFFIX);

export const isPartsHomeName = (name: string): boolean => name.startsWith(".") && name.endsWith(SUFFIX);

/** Which part of how many, counted from 1. */
export interface PartNumber {
  readonly number: number;
  readonly of: number;
}

/** Names within the folder; `plan` is the digest of a plan. */
export const planName = (plan: string): string => `plan-${short(plan)}.json`;
/** What is known of the whole output. */
export const outlineName = (plan: string): string => `outline-${short(plan)}.json`;
/** The output itself, to which all parts of a plan write. */
export const outName = (plan: string): string => `out-${short(plan)}`;
/** There while the output is on its way from here to its name, and when it has arrived. */
export const movedName = (plan: string): string => `moved-${short(plan)}`;
/** Appears when the part is done. */
export const doneName = (plan: string, { number, of }: PartNumber): string =>
  `part-${number}-of-${of}-${short(plan)}.json`;
/** Of one attempt to make a part. */
export const journalName = (plan: string, { number, of }: PartNumber, run: string): string =>
  `part-${number}-of-${of}-${short(plan)}.${run}.journal`;

const short = (plan: string): string => plan.slice(0, 12);

const ENTRY =
  /^(?:plan-[0-9a-f]{12}\.json|outline-[0-9a-f]{12}\.json|out-[0-9a-f]{12}|moved-[0-9a-f]{12}|part-\d+-of-\d+-[0-9a-f]{12}(?:\.json|\.[0-9a-f-]{36}\.journal)|[0-9a-f-]{36}\.tmp)$/;

/** Entries that we do not make. */
export const foreignParts = (home: string): string[] => entriesOf(home).filter((name) => !ENTRY.test(name));

/** Runs of a part of which a journal is there. */
export function runsOf(home: string, plan: string, part: PartNumber): string[] {
  const begin = doneName(plan, part).replace(/json$/, "");
  return entriesOf(home).flatMap((name) =>
    name.startsWith(begin) && name.endsWith(".journal") ? [name.slice(begin.length, -".journal".length)] : [],
  );
}

/** Whoever comes first makes it. */
export function makeHome(home: string): void {
  writing(home, () => makeFolders(home));
}

/** Removes documents first: what is left of a removal that was broken off is no part of anything. */
export function removePartsHome(home: string): void {
  const entries = entriesOf(home);
  for (const name of [
    ...entries.filter((each) => !each.startsWith("out-")),
    ...entries.filter((each) => each.startsWith("out-")),
  ]) {
    fs.rmSync(join(home, name), { recursive: true, force: true });
  }
  fs.rmSync(home, { recursive: true, force: true });
}
