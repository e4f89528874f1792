// Beside recorded logits alone: each known fault is undone on trial, and what brings the KL to the floor is the cause.
import type { Backend } from "../../../numerics/backend.ts";
import { runForwards } from "../../../numerics/driver.ts";
import type { Forward, ForwardInput } from "../../../numerics/graph.ts";
import { LogitComparison } from "../../../numerics/metrics.ts";
import { elementCount } from "../../base/dtype.ts";
import { InputError } from "../../base/errors.ts";
import type { Family } from "../../family/family.ts";
import type { ForwardProgress } from "../forward/outcome.ts";
import type { Golden } from "../inputs/golden.ts";
import type { TrialGraph } from "./graph.ts";
import { type Candidate, type Hypothesis, hypothesesOf, without } from "./hypothesis.ts";
import { beginningOf, prefixOf } from "./prefix.ts";
import { costOf, Screen } from "./screen.ts";

/** A hypothesis that was tried, and the mean KL that it left, in nats per token, of so many tokens. */
export interface Tried {
  readonly code: string;
  readonly place: string;
  readonly how: string;
  readonly klMeanNats: number;
  /** All tokens of the golden, or the few that hypotheses were screened on. */
  readonly tokens: number;
  /** Whether it brings all logits to the floor. */
  readonly fits: boolean;
}

/** One hypothesis that explains the golden, or two that do together. */
export interface Explanation {
  readonly hypotheses: readonly Hypothesis[];
  readonly klMeanNats: number;
  /** Those it was run on. */
  readonly tokens: number;
  /** After the first of two. */
  readonly between: number | null;
}

export interface Found {
  readonly explanations: readonly Explanation[];
  readonly tried: readonly Tried[];
  /** Hypotheses that the budget left no time for. */
  readonly untried: number;
  /** Mean KL of the model as it is, on the graph that hypotheses are tried on. */
  readonly before: number;
}

export interface SearchOf {
  readonly graph: TrialGraph;
  readonly family: Family;
  readonly input: ForwardInput;
  readonly golden: Golden;
  readonly backend: Backend;
  /** What the run of the model as it is showed; null where that was another graph. */
  readonly before: LogitComparison | null;
  /** The most that is left where a hypothesis explains the golden, in nats per token. */
  readonly floor: number;
  readonly isSuspect?: ((key: string) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ForwardProgress) => void) | undefined;
}

/** All hypotheses together cost at most so many forward passes over the golden; what confirms one of them comes on top. */
const SCREENING = 5;
/** Where these explain nothing, others are tried for some seconds of one core, in FLOPs: of a small model all of them. */
const LONGER_SEARCH = 5e9;
/** A forward pass of fewer tokens counts as one of so many: each hypothesis has costs that no token makes. */
const LEAST_TOKENS = 128;
/** Tokens behind the first position that differs, on which a hypothesis is looked at before it is run on all. */
const CLOSER_LOOK = 24;
/** Hypotheses of one search that get a closer look, and that are run on all tokens. */
const MOST_LOOKED_AT = 16;
const MOST_CONFIRMED = 3;
/** What explains a golden leaves at most this share of the KL; what leaves more is at best one of two faults. */
const EXPLAINED = 1e-2;
const MOST_OF_IT = 0.5;
/** Where its numbers are rounded anew in a narrow type, it leaves at most this share. */
const EXPLAINED_BUT_FOR_ROUNDING = 1e-3;

/** Logits of a candidate beside the golden, of the first tokens or of all. */
interface Seen {
  readonly comparison: LogitComparison;
  readonly klMeanNats: number;
  readonly tokens: number;
}

interface Partial {
  readonly hypothesis: Hypothesis;
  readonly seen: Seen;
}

interface Level {
  readonly explanations: readonly Explanation[];
  /** What takes most of the KL and not all, the most first. */
  readonly partial: readonly Partial[];
}

export class Search {
  private readonly tried: Tried[] = [];
  private untried = 0;

  constructor(private readonly of: SearchOf) {}

  async run(): Promise<Found> {
    const { graph, family, input, before: measured } = this.of;
    const start: Candidate = { family, source: graph.source, edited: new Set() };
    const before =
      measured === null ? await this.look(start, input.ids_T.length) : seenOf(measured, input.ids_T.length);
    const single = await this.level(start, before, before);
    const explanations =
      single.explanations.length > 0 ? single.explanations : await this.pairs(start, before, single.partial);
    return { explanations, tried: this.tried, untried: this.untried, before: before.klMeanNats };
  }

  /** Tries every hypothesis on what is left of the model. @param seen of `base`; @param before of the model as it is */
  private async level(base: Candidate, seen: Seen, before: Seen): Promise<Level> {
    const { floor, input, family } = this.of;
    const firstOver = seen.comparison.positions(floor).firstOver;
    if (firstOver === null) return { explanations: [], partial: [] };
    const screened = await this.screen(base, firstOver);
    const accept = acceptable(floor, screened.before);
    const fitting = screened.left.filter(({ kl }) => kl <= accept);
    const promising =
      fitting.length > 0 ? fitting : screened.left.filter(({ kl }) => kl <= MOST_OF_IT * screened.before).slice(0, 3);
    const explanations: Explanation[] = [];
    const partial: Partial[] = [];
    const looked = new Set<Hypothesis>();
    const near = Math.min(
      input.ids_T.length,
      beginningOf(input, firstOver + CLOSER_LOOK, family.vision?.imageToken).ids_T.length,
    );
    const most = klOfFirst(seen, near);
    let confirmed = 0;
    for (const { hypothesis } of promising.slice(0, MOST_LOOKED_AT)) {
      const candidate = without(base, hypothesis);
      let closer = await this.look(candidate, near);
      let fits = isExplained(hypothesis, closer.klMeanNats, most, floor);
      if (fits && confirmed < MOST_CONFIRMED && near < input.ids_T.length) {
        confirmed++;
        closer = await this.look(candidate, input.ids_T.length);
        fits = isExplained(hypothesis, closer.klMeanNats, before.klMeanNats, floor);
      }
      looked.add(hypothesis);
      this.note(hypothesis, closer, fits);
      if (fits)
        explanations.push({
          hypotheses: [hypothesis],
          klMeanNats: closer.klMeanNats,
          tokens: closer.tokens,
          between: null,
        });
      else if (closer.klMeanNats <= MOST_OF_IT * klOfFirst(seen, closer.tokens))
        partial.push({ seen: closer, hypothesis });
    }
    const tokens = screened.tokens;
    for (const { hypothesis, kl } of screened.left) {
      if (!looked.has(hypothesis)) this.note(hypothesis, { klMeanNats: kl, tokens }, false);
    }
    const share = ({ seen: { klMeanNats, tokens } }: Partial) => klMeanNats / klOfFirst(seen, tokens);
    return { explanations: closest(explanations, floor), partial: partial.toSorted((a, b) => share(a) - share(b)) };
  }

  /** Each hypothesis on the few positions where logits first differ, the least KL first. */
  private async screen(base: Candidate, firstOver: number) {
    const { graph, golden, backend, input, family, isSuspect, signal } = this.of;
    const prefix = prefixOf(input, firstOver, family.vision?.imageToken);
    const screen = new Screen(backend, graph.weights, prefix, golden, signal);
    const before = await screen.begin(graph.forward(base.family), graph.replaced(base));
    const hypotheses = hypothesesOf({ ...base, firstOver, hints: { chosen: screen.chosen }, isSuspect });
    const left: { readonly hypothesis: Hypothesis; readonly kl: number }[] = [];
    const accept = acceptable(this.of.floor, before);
    let tried = 0;
    const within = async (budget: number, untried: readonly Hypothesis[]): Promise<Hypothesis[]> => {
      const later: Hypothesis[] = [];
      let rest = budget;
      for (const hypothesis of untried) {
        signal?.throwIfAborted();
        const candidate = without(base, hypothesis);
        const forward = hypothesis.family && forwardOf(graph, candidate.family);
        if (forward === null) continue;
        const variant = { forward, replaced: graph.replaced(candidate) };
        const trace = screen.traced(variant);
        if (trace === null) continue;
        const cost = screen.cost(trace, variant);
        if (cost > rest) {
          later.push(hypothesis);
          continue;
        }
        rest -= cost;
        const kl = await screen.try(trace, variant);
        if (Number.isFinite(kl)) left.push({ hypothesis, kl });
        if (tried++ % 50 === 0) this.of.onProgress?.({ label: "hypotheses", done: tried, total: hypotheses.length });
      }
      return later;
    };
    let untried = await within(SCREENING * this.passCost(), hypotheses);
    if (untried.length > 0 && !left.some(({ kl }) => kl <= accept)) untried = await within(LONGER_SEARCH, untried);
    this.untried += untried.length;
    left.sort((a, b) => a.kl - b.kl);
    return { before, left, tokens: prefix.rows.end - prefix.rows.begin };
  }

  /** Two faults at once: what takes most of the KL stays undone, and the others are tried on what is left. */
  private async pairs(start: Candidate, before: Seen, partial: readonly Partial[]): Promise<readonly Explanation[]> {
    const [first] = partial;
    if (first === undefined) return [];
    const { explanations } = await this.level(without(start, first.hypothesis), first.seen, before);
    const between = first.seen.klMeanNats;
    return explanations.map((found) => ({ ...found, hypotheses: [first.hypothesis, ...found.hypotheses], between }));
  }

  private note(
    { code, place, how }: Hypothesis,
    { klMeanNats, tokens }: Pick<Seen, "klMeanNats" | "tokens">,
    fits: boolean,
  ): void {
    this.tried.push({ code, place, how, klMeanNats, tokens, fits });
  }

  /** Runs a candidate on the first tokens. */
  private async look(candidate: Candidate, tokens: number): Promise<Seen> {
    const { graph, golden, backend, signal, family } = this.of;
    const input = beginningOf(this.of.input, tokens, family.vision?.imageToken);
    const replaced = graph.replaced(candidate);
    const forward: Forward = graph.forward(candidate.family);
    const plan = graph.weights.plan(forward, input);
    const comparison = new LogitComparison(input.ids_T, golden.vocab);
    const weight = (key: string) => replaced.get(key) ?? graph.weights.weight(key);
    await runForwards(backend, [{ forward, plan, weight, has: (key) => graph.weights.has(key) }], input, {
      logits(first, [logits]) {
        comparison.add(golden.rows(first, first + logits!.length / golden.vocab), logits!);
      },
      progress: () => signal?.throwIfAborted(),
    });
    return seenOf(comparison, input.ids_T.length);
  }

  /** What a forward pass costs, counted as a screen counts. */
  private passCost(): number {
    const { graph, input, family } = this.of;
    const plan = graph.weights.plan(graph.forward(family), input);
    const keys = new Set(plan.steps.flatMap(({ weights }) => weights));
    const elements = [...keys].reduce((sum, key) => sum + elementCount(graph.weights.weight(key).shape), 0);
    return costOf({ flops: plan.flops * Math.max(1, LEAST_TOKENS / input.ids_T.length), elements, ops: 0 });
  }
}

/** Null where the graph cannot compute what another config asks for. */
function forwardOf(graph: TrialGraph, family: Family): Forward | null {
  try {
    return graph.forward(family);
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

/** The most that what explains the golden leaves of its first differing positions, in nats. */
const acceptable = (floor: number, before: number): number => Math.max(floor, EXPLAINED * before);

function isExplained({ isRounded = false }: Hypothesis, left: number, before: number, floor: number): boolean {
  return left <= (isRounded ? EXPLAINED_BUT_FOR_ROUNDING * before : Math.min(floor, EXPLAINED * before));
}

const seenOf = (comparison: LogitComparison, tokens: number): Seen => ({
  comparison,
  klMeanNats: comparison.metrics().klMeanNats,
  tokens,
});

/** Mean KL of the first tokens, in nats. */
function klOfFirst({ comparison, tokens }: Seen, first: number): number {
  const count = Math.min(first, tokens);
  let sum = 0;
  for (let row = 0; row < count; row++) sum += comparison.klAt(row);
  return sum / count;
}

/** Rounding leaves hardly more in one than in another: what leaves far more fits by chance. */
function closest(explanations: readonly Explanation[], floor: number): Explanation[] {
  const least = Math.min(...explanations.map(({ klMeanNats }) => klMeanNats));
  return explanations.filter(({ klMeanNats }) => klMeanNats <= Math.max(1e-12, 1000 * least) || least > floor / 10);
}
