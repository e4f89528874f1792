// The folder in which the parts of a run meet. Each name tells the plan, so that parts of two plans never overwrite each other.
import { InputError } from "../../base/errors.ts";
import { JsonReader, parseJson } from "../../base/json.ts";
import { locate, type PathOrLocation } from "../../formats/io/disk-folder.ts";
import { type Folder, readText } from "../../formats/io/folder.ts";
import { differences } from "../../output/parts/difference.ts";
import { writeMade } from "../../output/parts/made.ts";
import type { PartNumber } from "../../output/parts/place.ts";
import { isSigned, signed } from "../../output/parts/signed.ts";
import type { PartPlan } from "./plan.ts";
import { readPlan } from "./read-plan.ts";
import { readResult } from "./read-result.ts";
import { textOf } from "./readers.ts";
import { type PartResult, rowsJson } from "./result.ts";

const PLAN = /^parity-([0-9a-f]{12})\.json$/;
const PART = /^parity-([0-9a-f]{12})-part-(\d+)-of-(\d+)\.json$/;
/** A plan lists the tensors that each step reads: some 100 bytes each. */
const LIMIT = 1 << 29;
const FORMATS = { plan: "convert-checkpoint parity plan", part: "convert-checkpoint parity part" } as const;

const planName = (plan: string): string => `parity-${plan.slice(0, 12)}.json`;
const partName = (plan: string, { number, of }: PartNumber): string =>
  `parity-${plan.slice(0, 12)}-part-${number}-of-${of}.json`;

/** What a folder holds of one plan. */
export interface PartsOfPlan {
  readonly plan: PartPlan;
  readonly parts: readonly { readonly number: number; readonly name: string }[];
}

/** Whether parts of a parity are in a folder. */
export function holdsParity(at: PathOrLocation): boolean {
  const { folder, file } = locate(at);
  return file === null && folder.list().some((name) => PLAN.test(name) || PART.test(name));
}

/** Plans of which there is something. @throws InputError PARTS_DAMAGED */
export function plansIn(folder: Folder): PartsOfPlan[] {
  const names = folder.list();
  const parts = names.flatMap((name) => {
    const [, plan, number] = PART.exec(name) ?? [];
    return plan === undefined ? [] : [{ plan, number: Number(number), name }];
  });
  return names
    .filter((name) => PLAN.test(name))
    .map((name) => {
      const plan = readPlan(opened(folder, name, "plan"));
      return { plan, parts: parts.filter((part) => plan.plan.startsWith(part.plan)) };
    });
}

export const resultIn = (folder: Folder, name: string, plan: PartPlan): PartResult => {
  const result = readResult(opened(folder, name, "part"), plan);
  if (result.plan === plan.plan && partName(result.plan, result) === name) return result;
  throw damaged(folder.pathOf(name), "its plan or number is not that of its name");
};

/** @throws InputError PARTS_OF_ANOTHER_PLAN where parts of another plan are there */
export function refuseOthers(path: string, here: PartPlan, plans: readonly PartsOfPlan[]): void {
  const other = plans.find(({ plan, parts }) => plan.plan !== here.plan && parts.length > 0);
  if (other !== undefined) throw anotherPlan(path, other, here);
}

export function anotherPlan(path: string, { plan, parts }: PartsOfPlan, here: PartPlan): InputError {
  const numbers = parts.map(({ number }) => number).toSorted((a, b) => a - b);
  const [which, belong] = numbers.length === 1 ? ["part", "belongs"] : ["parts", "belong"];
  return new InputError(
    "PARTS_OF_ANOTHER_PLAN",
    `${path}: ${which} ${numbers.join(", ")} of ${plan.of} ${belong} to another plan`,
    {
      file: path,
      expected: "parts of one plan: the same models, inputs, options, number of parts and version",
      found: `another ${differences(plan, here).join(", ")}`,
      help: `run every part as the first one was run, or into another folder; ${planName(plan.plan).replace(".json", "*")} there are the others`,
    },
  );
}

export function writePlan(path: string, plan: PartPlan): void {
  writeMade(path, planName(plan.plan), signed(textOf({ format: FORMATS.plan, ...plan })));
}

/** @returns the name of the file */
export function writeResult(path: string, result: PartResult): string {
  const figures = ({ rows, ...rest }: PartResult | PartResult["known"][number]) => ({ ...rest, rows: rowsJson(rows) });
  const json = { format: FORMATS.part, ...figures(result), known: result.known.map(figures) };
  const name = partName(result.plan, result);
  writeMade(path, name, signed(textOf(json)));
  return name;
}

function opened(folder: Folder, name: string, kind: keyof typeof FORMATS): JsonReader {
  const path = folder.pathOf(name);
  const text = readText(folder, name, LIMIT);
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    if (cause instanceof SyntaxError) throw damaged(path, "it is not JSON");
    throw cause;
  }
  const reader = new JsonReader(json, ({ place, expected, found }) =>
    damaged(path, `${place || "it"} is no ${expected}: ${found}`),
  );
  reader.field("format").oneOf([FORMATS[kind]], `"${FORMATS[kind]}"`);
  if (!isSigned(text)) throw damaged(path, "it is not the text that was written");
  return reader;
}

const damaged = (path: string, problem: string): InputError =>
  new InputError("PARTS_DAMAGED", `${path}: ${problem}`, {
    file: path,
    help: "remove it and run that part again",
  });
