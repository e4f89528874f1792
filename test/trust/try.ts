// One mutant, and what each check says of it.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { adapters } from "../../adapters/registry.ts";
import { ConvertCheckpointError } from "../../src/base/errors.ts";
import { convert } from "../../src/convert/convert.ts";
import { planConversion } from "../../src/convert/plan.ts";
import type { Family } from "../../src/family/family.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { type Model, openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { type Mutation, mutate } from "../../src/mutate/mutate.ts";
import type { InputRequest } from "../../src/parity/inputs/read.ts";
import { type ParityReport, runParity } from "../../src/parity/parity.ts";
import { SideWeights } from "../../src/parity/side.ts";
import { diff } from "../../src/verify/diff.ts";
import { match } from "../../src/verify/identity/match.ts";
import { seal } from "../../src/verify/identity/seal.ts";
import { roundtrip } from "../../src/verify/roundtrip.ts";
import { everyKnown } from "../helpers/fixtures.ts";
import { type Base, idsOf, readableIds } from "./bases.ts";
import type { Planned } from "./select.ts";

export const CHECKS = ["coverage", "config", "round trip", "diff", "seal", "parity", "golden alone"] as const;
export type CheckName = (typeof CHECKS)[number];

/** What a check says: it passes, fails, or could not be asked. */
export type Said = "passes" | "fails" | "not checked";

export interface Row {
  readonly kind: string;
  readonly code: string | null;
  readonly base: string;
  readonly family: string;
  readonly layout: string;
  readonly side: "hf" | "native";
  readonly place: string;
  readonly keepsShapes: boolean;
  readonly said: Readonly<Record<CheckName, Said>>;
  /** Whether the place was right; null where nothing is to be located. */
  readonly located: boolean | null;
  readonly where: string | null;
  /** Whether it was called what it is; null for a control. */
  readonly named: boolean | null;
  readonly name: string | null;
  /** Of a run against recorded logits alone. */
  readonly goldenName: string | null;
  /** Why it could not be made; then nothing was tried. */
  readonly skipped: string | null;
  readonly seconds: number;
}

/** What a check throws is what it says: a code, with the tensor it names. */
interface Refused {
  readonly code: string;
  readonly text: string;
}

async function asked<T>(run: () => Promise<T> | T): Promise<T | Refused> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof ConvertCheckpointError)) throw error;
    const { tensor = "", found = "", expected = "" } = error.details;
    return { code: error.code, text: `${error.message} ${tensor} ${found} ${expected}` };
  }
}

const isRefused = (said: object): said is Refused => "text" in said && "code" in said;

const verdict = (said: { readonly verdict: "pass" | "fail" | string } | Refused): Said =>
  isRefused(said) || said.verdict !== "pass" ? "fails" : "passes";

export interface TryOptions {
  readonly folder: string;
  /** The golden of a base, cut to so many tokens as are run. */
  readonly goldenOf: (base: Base) => string | null;
  /** Whether the mutant is run against the golden alone, too. */
  readonly alone?: boolean;
}

export async function tryMutant(planned: Planned, options: TryOptions): Promise<Row> {
  const begin = performance.now();
  const folder = mkdtempSync(join(options.folder, "mutant-"));
  try {
    const { base, kind, place, side } = planned;
    const good = base[side];
    const checkpoint = openCheckpoint(good);
    const target = join(folder, "bad");
    const made = await asked(() =>
      mutate(checkpoint, target, { adapters, fault: `${kind.name}:${place}`, config: base.config, fsync: false }),
    );
    checkpoint.close();
    const about = {
      kind: kind.name,
      code: kind.code,
      base: base.name,
      family: base.family,
      layout: side === "hf" ? "hf" : base.layout,
      side,
      place,
      keepsShapes: kind.keepsShapes,
    };
    if (isRefused(made)) {
      if (side === "native") return await tryMutant({ ...planned, side: "hf" }, options);
      return { ...about, ...NOTHING, skipped: made.text.trim(), seconds: (performance.now() - begin) / 1e3 };
    }
    const seen = await seenBy(planned, target, folder, options);
    if (kind.code !== null && (await isIdle(planned, made, target, seen, options.goldenOf(base))))
      return { ...about, ...NOTHING, skipped: IDLE, seconds: (performance.now() - begin) / 1e3 };
    return { ...about, ...judged(planned, made, seen), skipped: null, seconds: (performance.now() - begin) / 1e3 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const NOTHING = {
  said: Object.fromEntries(CHECKS.map((check) => [check, "not checked"])) as Record<CheckName, Said>,
  located: null,
  where: null,
  named: null,
  name: null,
  goldenName: null,
} as const;

const IDLE = "the config computes the same with it: no bit of any logit differs from the good side's own";

/** Whether a field has no effect at this model's other fields, though no check refuses it: then there is no fault to see. */
async function isIdle(
  planned: Planned,
  made: Mutation,
  target: string,
  { said }: Seen,
  golden: string | null,
): Promise<boolean> {
  const { base, side } = planned;
  if (made.tensors.length > 0 || CHECKS.some((check) => said[check] === "fails") || !base.runs) return false;
  const [bad, good] = [target, base[side]].map((path) => openCheckpoint(path));
  try {
    const [a, b] = [good, bad].map((checkpoint) => openModel(checkpoint!, { adapters, config: base.config }));
    const { metrics } = await runParity({ a: a!, b: b!, input: inputOf(base, golden, a!.family), backend: "cpu" });
    return metrics.maxAbsDiff === 0;
  } finally {
    bad!.close();
    good!.close();
  }
}

interface Seen {
  readonly said: Readonly<Record<CheckName, Said>>;
  readonly refused: Refused | null;
  readonly compared: Awaited<ReturnType<typeof diff>> | Refused;
  readonly matched: Awaited<ReturnType<typeof match>> | Refused | null;
  readonly report: ParityReport | Refused | null;
  readonly alone: ParityReport | Refused | null;
  /** Taps in the order of the forward pass, each with the keys that its step reads. */
  readonly steps: readonly { readonly tap: string; readonly weights: readonly string[] }[];
}

async function seenBy(
  planned: Planned,
  target: string,
  folder: string,
  { goldenOf, alone: isAlone = false }: TryOptions,
): Promise<Seen> {
  const { base, side } = planned;
  const bad = openCheckpoint(target);
  const other = openCheckpoint(side === "hf" ? base.native : base.hf);
  const original = openCheckpoint(base[side]);
  const reference = openCheckpoint(base.hf);
  try {
    const own = { adapters };
    const ofOther = { adapters, config: base.config };
    // The default target may lack a place for what the base's own layout carries, such as a head for a second token.
    const to = side === "hf" ? base.layout : "hf";
    const covered = await asked(async () => {
      await convert(planConversion(bad, join(folder, "converted"), { ...own, to }), { fsync: false });
      return { verdict: "pass" };
    });
    const trip = await asked(() => roundtrip(openModel(bad, own), { to }));
    const compared = await asked(() => diff(bad, other, { a: own, b: ofOther }));
    const sealed = await asked(() => seal(original, { adapters, config: base.config }));
    const matched = isRefused(sealed) ? null : await asked(() => match(bad, sealed.seal, own));
    const isRefusedAtAll = isRefused(covered);
    const report = base.runs
      ? await asked(() => parityOf(planned, bad, other, goldenOf(base)))
      : await afterAll(planned, folder, isRefusedAtAll);
    const golden = goldenOf(base);
    const alone = golden === null || !base.runs || !isAlone ? null : await asked(() => goldenRun(bad, base, golden));
    const configs = isRefused(compared) ? null : compared.configDifferences;
    return {
      said: {
        coverage: verdict(covered),
        config: configs === null ? "not checked" : configs.length > 0 ? "fails" : "passes",
        "round trip": verdict(trip),
        diff: verdict(compared),
        seal: matched === null ? "not checked" : verdict(matched),
        parity: report === null ? "not checked" : verdict(report),
        "golden alone": alone === null ? "not checked" : verdict(alone),
      },
      refused: isRefused(covered) ? covered : null,
      compared,
      matched,
      report,
      alone,
      steps: base.runs ? stepsOf(openModel(reference, own)) : [],
    };
  } finally {
    for (const checkpoint of [bad, other, original, reference]) checkpoint.close();
  }
}

/** Without the id whose vector a control changes; images bring ids of their own. */
function inputOf({ inputs }: Base, golden: string | null, family: Family): InputRequest {
  if (inputs !== null) return { kind: "inputs", file: inputs };
  if (golden !== null) return { kind: "ids", file: idsOf(golden) };
  return family.vision === undefined ? { kind: "list", ids: readableIds(family) } : { kind: "random" };
}

/** As it is called on a trainer's checkpoint and a converted one: each side has its own config where it has one. */
function parityOf(
  { base, side }: Planned,
  bad: Checkpoint,
  other: Checkpoint,
  golden: string | null,
): Promise<ParityReport> {
  const [wrong, right] = [openModel(bad, { adapters }), openModel(other, { adapters, config: base.config })];
  const [a, b] = side === "hf" ? [right, wrong] : [wrong, right];
  const input = inputOf(base, golden, b.family);
  return runParity({ a, b, input, backend: "cpu", acceptKnown: everyKnown(base.family) });
}

/** Layouts without a forward pass are run once they are converted. */
async function afterAll(
  { base, side }: Planned,
  folder: string,
  isRefusedAtAll: boolean,
): Promise<ParityReport | Refused | null> {
  if (isRefusedAtAll || side === "hf") return null;
  const [wrong, right] = [join(folder, "converted"), base.hf].map((path) => openCheckpoint(path));
  try {
    const [a, b] = [wrong, right].map((checkpoint) => openModel(checkpoint!, { adapters }));
    const input = inputOf(base, null, b!.family);
    return await asked(() => runParity({ a: a!, b: b!, input, backend: "cpu" }));
  } finally {
    wrong!.close();
    right!.close();
  }
}

const goldenRun = (bad: Checkpoint, base: Base, golden: string): Promise<ParityReport> =>
  runParity({
    a: openModel(bad, { adapters }),
    golden,
    ...(base.inputs === null ? {} : { input: { kind: "inputs", file: base.inputs } }),
    backend: "cpu",
    acceptKnown: everyKnown(base.family),
  });

function stepsOf(model: Model): Seen["steps"] {
  const plan = new SideWeights(model).plan(model.layout.forward(), { ids_T: [1, 2, 3] });
  return plan.steps.map(({ tap, weights }) => ({ tap, weights }));
}

/** A path's last name, as a report may spell a field without what it stands in. */
const last = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

/** Whether a report's field is the changed one, or a part of it. */
const isField = (told: string, changed: string): boolean =>
  last(told) === last(changed) || told.startsWith(`${changed}.`) || told.startsWith(`${last(changed)}.`);

const reportOf = (said: ParityReport | Refused | null): ParityReport | null =>
  said === null || isRefused(said) ? null : said;

function judged({ kind }: Planned, made: Mutation, seen: Seen) {
  const { said, refused, compared, matched } = seen;
  const report = reportOf(seen.report);
  const goldenName = reportOf(seen.alone)?.cause?.code ?? null;
  const told = refused ?? (seen.report !== null && isRefused(seen.report) ? seen.report : null);
  const fromDiff = "cause" in compared && isCause(compared.cause) ? compared.cause : null;
  // What no number of the run shows, the comparison of tensors names.
  const shownBy = (report?.verdict === "fail" ? report.cause : null) ?? fromDiff;
  if (kind.code === null)
    return { said, located: null, where: null, named: null, name: told?.code ?? shownBy?.code ?? null, goldenName };
  const keys = new Set([...made.tensors, ...made.stored]);
  const divergence = report?.firstDivergence ?? null;
  const differences = [compared, matched].flatMap((each) => (each === null || isRefused(each) ? [] : each.differences));
  const configs = isRefused(compared) ? [] : (compared.configDifferences ?? []).map(({ field }) => field);
  const changed = (field: string) => made.fields.some((each) => isField(field, each));
  const codes = [kind.code, ...(kind.alsoCodes ?? [])];
  const seenApart = differences.find(({ key }) => keys.has(key));
  const isTold =
    told !== null &&
    ([...keys, ...made.fields.map(last)].some((name) => told.text.includes(name)) || codes.includes(told.code));
  const isNamed =
    shownBy !== null &&
    codes.includes(shownBy.code) &&
    (shownBy.tensors.some((key) => keys.has(key)) || shownBy.fields.some(changed) || isOfAll(shownBy));
  const isGone =
    seenApart !== undefined && !kind.keepsShapes && seenApart.kind !== "values" && seenApart.kind !== "dtype";
  const located =
    told !== null
      ? isTold
      : divergence !== null
        ? isRight(kind.taps, divergence, keys, made, seen)
        : seenApart !== undefined || configs.some(changed) || (shownBy?.fields.some(changed) ?? false);
  return {
    said,
    located,
    where: told?.code ?? divergence?.tap ?? seenApart?.key ?? configs[0] ?? null,
    named:
      told !== null ? isTold : isNamed || (shownBy === null && isGone) || (shownBy === null && configs.some(changed)),
    name: told?.code ?? shownBy?.code ?? (isGone ? seenApart.kind : null),
    goldenName,
  };
}

/** A cause of the whole model names no tensor. */
const isOfAll = ({ tensors, fields }: CauseLike): boolean => tensors.length + fields.length === 0;

interface CauseLike {
  readonly code: string;
  readonly tensors: readonly string[];
  readonly fields: readonly string[];
}

const isCause = (value: unknown): value is CauseLike =>
  typeof value === "object" && value !== null && "code" in value && "tensors" in value && "fields" in value;

/** The step that read what is wrong, or a later one: nothing before it showed more than rounding. */
function isRight(
  taps: RegExp | undefined,
  { tap, tensors }: NonNullable<ParityReport["firstDivergence"]>,
  keys: ReadonlySet<string>,
  made: Mutation,
  { steps }: Seen,
): boolean {
  if (made.tensors.length === 0) return taps === undefined || taps.test(tap);
  if (tensors.some((key) => keys.has(key))) return true;
  const first = steps.findIndex(({ weights }) => weights.some((key) => keys.has(key)));
  const found = steps.findIndex((step) => step.tap === tap);
  return first >= 0 && found > first;
}
