// The block of a page that runs models forward: one side against the other, and against recorded logits.
import { sep } from "node:path";
import { isAddress, wholePath } from "../../base/addresses.ts";
import type { Check } from "../../base/check.ts";
import { InputError } from "../../base/errors.ts";
import type { Acceptance } from "../../parity/choices.ts";
import { randomIds } from "../../parity/inputs/random.ts";
import type { InputRequest } from "../../parity/inputs/read.ts";
import { type ParityOptions, type ParityReport, runParity } from "../../parity/parity.ts";
import { attempt, notChecked } from "../block.ts";
import { CONFIG_NAME } from "../configs.ts";
import type { MadeBlocks } from "../report.ts";
import type { OpenSide } from "../sides.ts";
import { type MadeOf, type Work, whyNoPair } from "../work.ts";
import { withLastBitTurned } from "./last-bit.ts";
import { lastBitLimit, nats } from "./limits.ts";
import { type Logits, logitChecks, runLogits } from "./logits.ts";

const NAME = "both sides give the same logits";
/** Enough to say what a cast costs, as for the noise floor. */
const FEW_TOKENS = 64;

export async function parityBlock(work: Work, made: MadeBlocks): Promise<MadeOf> {
  const { sides } = work;
  const [a, b] = sides;
  const goldens = await againstGoldens(work);
  if (a === undefined || b === undefined) {
    const lacking = goldens.reports.length + goldens.checks.length > 0 ? [] : [", or a golden"];
    return {
      checks: [notChecked(NAME, [whyNoPair(work), ...lacking].join("")), ...goldens.checks],
      found: { goldens: goldens.reports },
    };
  }
  const graphless = sides.flatMap(({ model: { layout } }) => (layout.noGraph === null ? [] : [layout]));
  const [without] = graphless;
  if (without !== undefined) {
    const because = `layout ${without.name} has no forward graph: ${without.noGraph}`;
    return { checks: [notChecked(NAME, because), ...goldens.checks], found: { goldens: goldens.reports } };
  }
  const { made: pair, failure } = await attempted(NAME, sides, () => ofPair(work, a, b));
  if (failure !== null) return { checks: [failure, ...goldens.checks], found: { goldens: goldens.reports } };
  const { logits, cost, extra } = pair;
  return {
    checks: [...logitChecks(logits, CONFIG_NAME), ...extra, ...goldens.checks],
    found: { parity: logits.report, pinned: logits.pinned, cost, goldens: goldens.reports },
  };

  function isTheSame(report: ParityReport): boolean {
    const { diff } = made.get("identity")?.found ?? {};
    const isEqual = diff === undefined || diff === null || diff.verdict === "pass";
    return isEqual && report.configDifferences.length === 0;
  }

  async function ofPair({ profile }: Work, x: OpenSide, y: OpenSide) {
    const asked = optionsOf(work, x, y);
    if (profile?.name === "same type") return ofSameType(asked, x);
    const isCast = profile?.name === "cast";
    // A limit on a cast is one on what it costs; that it is nothing but the cast is held to rounding.
    const { maxKlNats, ...unlimited } = asked;
    const logits = await runLogits(isCast ? { ...unlimited, afterCast: true } : asked, isTheSame);
    if (!isCast) return { logits, cost: null, extra: [] };
    const cost = await runParity({
      ...withoutFiles(asked),
      input: maxKlNats === undefined ? fewTokens(x) : asked.input,
    });
    return { logits, cost, extra: [costCheck(cost, maxKlNats)] };
  }

  async function ofSameType(asked: ParityOptions, x: OpenSide) {
    if (asked.maxKlNats !== undefined) return { logits: await runLogits(asked, isTheSame), cost: null, extra: [] };
    const turned = { ...x.model, source: withLastBitTurned(x.model.source) };
    const floor = await runParity({ ...withoutFiles(asked), a: x.model, b: turned, input: fewTokens(x) });
    const { limitNats, words } = lastBitLimit(floor);
    const logits = await runLogits({ ...asked, maxKlNats: limitNats }, isTheSame);
    const within = logits.report.metrics.klMeanNats <= limitNats;
    const check: Check = {
      name: "logits differ by no more than the last bit of the weights makes",
      status: within ? "passed" : "failed",
      detail: `mean KL ${nats(logits.report.metrics.klMeanNats)}, ${words}`,
    };
    return { logits, cost: null, extra: [check] };
  }
}

/** Ids of text alone. */
function fewTokens({ model: { family } }: OpenSide): InputRequest {
  const { vocabSize, vision } = family;
  const special = new Set([...(vision?.reserved ?? []), vision?.imageToken, ...(vision?.around ?? [])]);
  const ids = randomIds(FEW_TOKENS, vocabSize, 0).filter((id) => !special.has(id));
  return { kind: "list", ids };
}

function costCheck({ metrics }: ParityReport, maxKlNats: number | undefined): Check {
  const name = "what the cast costs";
  const words = `mean KL ${nats(metrics.klMeanNats)} nats/token over ${metrics.tokens} tokens, top-1 ${(100 * metrics.top1).toFixed(2)} %`;
  if (maxKlNats === undefined) return { name, status: "not checked", detail: `${words}; no limit was given for it` };
  const status = metrics.klMeanNats <= maxKlNats ? "passed" : "failed";
  return { name, status, detail: `${words}, limit ${nats(maxKlNats)} (given)` };
}

const withoutFiles = (options: ParityOptions): ParityOptions => ({ ...options, saveLogits: undefined });

function optionsOf({ options }: Work, a: OpenSide, b?: OpenSide): ParityOptions {
  return {
    a: a.model,
    b: b?.model,
    input: options.input,
    backend: options.backend,
    maxKlNats: options.maxKlNats,
    minTop1: options.minTop1,
    acceptKnown: acceptancesOf(options),
    upstream: options.upstream,
    routing: options.routing,
    maxRamBytes: options.maxRamBytes,
    saveLogits: options.saveLogits,
    shared: options.shared,
    signal: options.signal,
    onProgress: options.onProgress,
    ...(options.onBackend === undefined ? {} : { onBackend: options.onBackend }),
  };
}

/** Those of the options and those of the waivers. */
function acceptancesOf({ acceptKnown, accepted }: Work["options"]): ParityOptions["acceptKnown"] {
  const waived: Acceptance[] = (accepted?.known ?? []).map(({ code, maxKl }) => ({ code, klNats: maxKl }));
  if (waived.length === 0) return acceptKnown;
  const given = acceptKnown === true ? [{ code: null }] : acceptKnown === false ? [] : (acceptKnown ?? []);
  return [...given, ...waived];
}

/** The target, or the only side, against each golden. */
async function againstGoldens(work: Work): Promise<{ readonly checks: Check[]; readonly reports: ParityReport[] }> {
  const checks: Check[] = [];
  const reports: ParityReport[] = [];
  const side = work.sides.at(-1);
  if (side === undefined) return { checks, reports };
  for (const golden of work.options.goldens ?? []) {
    const { a, b: _, input: __, saveLogits: ___, ...asked } = optionsOf(work, side);
    const { made, failure } = await attempted(`the golden's logits, ${golden}`, work.sides, () =>
      runLogits({ a, ...asked, golden }, () => false),
    );
    if (failure !== null) checks.push(failure);
    else {
      reports.push(made.report);
      checks.push(...ofGolden(golden, made));
    }
  }
  return { checks, reports };
}

const ofGolden = (golden: string, logits: Logits): Check[] =>
  logitChecks(logits, CONFIG_NAME).map((check) => ({ ...check, name: `${golden}: ${check.name}` }));

/** As `attempt`, but what is wrong with an input of the user's own, which is no part of a side, ends the run. */
function attempted<T>(name: string, sides: readonly OpenSide[], make: () => Promise<T>) {
  let refused: unknown = null;
  return attempt(name, async () => {
    try {
      return await make();
    } catch (error) {
      if (error instanceof InputError && isOfUser(error, sides)) refused = error;
      throw error;
    }
  }).then((outcome) => {
    if (refused !== null) throw refused;
    return outcome;
  });
}

function isOfUser({ details: { file } }: InputError, sides: readonly OpenSide[]): boolean {
  if (file === undefined) return false;
  const place = wholePath(file);
  const roots = sides.flatMap(({ path, checkpoint: { folder } }) => [wholePath(path), wholePath(folder.path)]);
  return !roots.some((root) => place === root || place.startsWith(root + (isAddress(root) ? "/" : sep)));
}
