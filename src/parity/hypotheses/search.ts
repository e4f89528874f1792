// Beside recorded logits alone: each known fault is undone on trial, and what brings the KL to the floor is the cause.
import type { Backend } from "../../../numerics/backend.ts";
import { runForwards } from "../../../numerics/driver.ts";
import type { Forward, ForwardInput } from "../../../numerics/graph.ts";
import { LogitComparison } from "../../../numerics/metrics.ts";
import { elementCount } from "../../base/dtype.ts";
import type { Family } from "../../family/family.ts";
import type { Golden } from "../inputs/golden.ts";
import type { ForwardProgress } from "../passes.ts";
import type { TrialGraph } from "./graph.ts";
import { type Candidate, type Hypothesis, hypothesesOf, without } from "./hypothesis.ts";
import { prefixOf } from "./prefix.ts";
import { Screen } from "./screen.ts";

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
  /** After the first of two. */
  readonly between: number | null;
}

export interface Found {
  readonly explanations: readonly Explanation[];
  readonly tried: readonly Tried[];
  /** Hypotheses that the budget left no time for. */
  readonly untried: number;
  /** The least that any hypothesis left of all tokens; null where none was worth a whole run. */
  readonly best: Tried | null;
}

export interface SearchOf {
  readonly graph: TrialGraph;
  readonly family: Family;
  readonly input: ForwardInput;
  readonly golden: Golden;
  readonly backend: Backend;
  /** The most that is left where a hypothesis explains the golden, in nats per token. */
  readonly floor: number;
  readonly isSuspect?: ((key: string) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ForwardProgress) => void) | undefined;
}

/** All hypotheses together cost at most so many forward passes over the golden. */
const MOST_PASSES = 6;
/** Of these, passes that screening may take. */
const SCREENING = 4;
/** A forward pass of fewer tokens counts as one of so many: each hypothesis has costs that no token makes. */
const LEAST_TOKENS = 128;
/** Hypotheses of one search that are run on all tokens. */
const MOST_CONFIRMED = 4;
/** What explains a golden leaves at most this share of the KL; what leaves more is at best one of two faults. */
const EXPLAINED = 1e-2;
const MOST_OF_IT = 0.5;

interface Whole {
  readonly comparison: LogitComparison;
  readonly klMeanNats: number;
}

export class Search {
  private readonly tried: Tried[] = [];
  private untried = 0;
  private spent = 0;

  constructor(private readonly of: SearchOf) {}

  async run(): Promise<Found> {
    const { graph, family } = this.of;
    const start: Candidate = { family, source: graph.source, edited: new Set() };
    const before = await this.whole(start);
    const single = await this.level(start, before);
    const explanations = single.explanations.length > 0 ? single.explanations : await this.pairs(start, before, single.partial);
    const whole = this.tried.filter(({ tokens }) => tokens === this.of.input.ids_T.length);
    const best = whole.reduce<Tried | null>((a, b) => (a === null || b.klMeanNats < a.klMeanNats ? b : a), null);
    return { explanations, tried: this.tried, untried: this.untried, best };
  }

  /** Tries every hypothesis on what is left of the model. */
  private async level(base: Candidate, before: Whole): Promise<{ readonly explanations: readonly Explanation[]; readonly partial: readonly (Whole & { readonly hypothesis: Hypothesis })[] }> {
    const { graph, golden, backend, input, family, isSuspect, signal, floor } = this.of;
    const firstOver = before.comparison.positions(floor).firstOver;
    if (firstOver === null) return { explanations: [], partial: [] };
    const prefix = prefixOf(input, firstOver, family.vision?.imageToken);
    const screen = new Screen(backend, graph.weights, prefix, golden, signal);
    const forward = graph.forward(base.family);
    const replaced = graph.replaced(base);
    const screened = await screen.begin(forward, replaced);
    const hints = { chosen: screen.chosen };
    const hypotheses = hypothesesOf({ ...base, firstOver, hints, isSuspect });
    const left: { readonly hypothesis: Hypothesis; readonly kl: number }[] = [];
    const budget = SCREENING * this.passCost();
    for (const [i, hypothesis] of hypotheses.entries()) {
      signal?.throwIfAborted();
      const candidate = without(base, hypothesis);
      const variant = { forward: hypothesis.family && graph.forward(candidate.family), replaced: graph.replaced(candidate) };
      const trace = screen.traced(variant);
      if (trace === null) continue;
      const cost = screen.cost(trace, variant);
      if (this.spent + cost > budget) {
        this.untried++;
        continue;
      }
      this.spent += cost;
      const kl = await screen.try(trace, variant);
      if (Number.isFinite(kl)) left.push({ hypothesis, kl });
      if (i % 50 === 0) this.of.onProgress?.({ label: "hypotheses", done: i, total: hypotheses.length });
    }
    left.sort((a, b) => a.kl - b.kl);
    const accept = Math.max(floor, EXPLAINED * screened);
    const fitting = left.filter(({ kl }) => kl <= accept);
    const promising = fitting.length > 0 ? fitting : left.filter(({ kl }) => kl <= MOST_OF_IT * screened).slice(0, 2);
    const explanations: Explanation[] = [];
    const partial: (Whole & { readonly hypothesis: Hypothesis })[] = [];
    const confirmed = new Set<Hypothesis>();
    for (const { hypothesis } of promising.slice(0, MOST_CONFIRMED)) {
      const whole = await this.whole(without(base, hypothesis));
      const fits = whole.klMeanNats <= Math.min(floor, EXPLAINED * before.klMeanNats);
      confirmed.add(hypothesis);
      this.note(hypothesis, whole.klMeanNats, input.ids_T.length, fits);
      if (fits) explanations.push({ hypotheses: [hypothesis], klMeanNats: whole.klMeanNats, between: null });
      else if (whole.klMeanNats <= MOST_OF_IT * before.klMeanNats) partial.push({ ...whole, hypothesis });
    }
    for (const { hypothesis, kl } of left) if (!confirmed.has(hypothesis)) this.note(hypothesis, kl, prefix.rows.end - prefix.rows.begin, false);
    partial.sort((a, b) => a.klMeanNats - b.klMeanNats);
    return { explanations: closest(explanations, floor), partial };
  }

  /** Two faults at once: what takes most of the KL stays undone, and the others are tried on what is left. */
  private async pairs(start: Candidate, before: Whole, partial: readonly (Whole & { readonly hypothesis: Hypothesis })[]): Promise<readonly Explanation[]> {
    const [first] = partial;
    if (first === undefined) return [];
    this.spent = 0;
    const { explanations } = await this.level(without(start, first.hypothesis), first);
    return explanations
      .filter(({ klMeanNats }) => klMeanNats <= EXPLAINED * before.klMeanNats)
      .map(({ hypotheses, klMeanNats }) => ({ hypotheses: [first.hypothesis, ...hypotheses], klMeanNats, between: first.klMeanNats }));
  }

  private note({ code, place, how }: Hypothesis, klMeanNats: number, tokens: number, fits: boolean): void {
    this.tried.push({ code, place, how, klMeanNats, tokens, fits });
  }

  /** Runs a candidate on all tokens. */
  private async whole(candidate: Candidate): Promise<Whole> {
    const { graph, input, golden, backend, signal } = this.of;
    const replaced = graph.replaced(candidate);
    const forward: Forward = graph.forward(candidate.family);
    const plan = graph.weights.plan(forward, input);
    const comparison = new LogitComparison(input.ids_T, golden.vocab);
    const weight = (key: string) => replaced.get(key) ?? graph.weights.weight(key);
    await runForwards(backend, [{ forward, plan, weight, has: (key) => graph.weights.has(key) }], input, {
      logits(first, [logits]) {
        signal?.throwIfAborted();
        comparison.add(golden.rows(first, first + logits!.length / golden.vocab), logits!);
      },
      progress: () => signal?.throwIfAborted(),
    });
    return { comparison, klMeanNats: comparison.metrics().klMeanNats };
  }

  /** What a forward pass costs, counted as a screen counts. */
  private passCost(): number {
    const { graph, input, family } = this.of;
    const plan = graph.weights.plan(graph.forward(family), input);
    const keys = new Set(plan.steps.flatMap(({ weights }) => weights));
    const elements = [...keys].reduce((sum, key) => sum + elementCount(graph.weights.weight(key).shape), 0);
    return plan.flops * Math.max(1, LEAST_TOKENS / input.ids_T.length) + elements;
  }
}

/** Rounding leaves hardly more in one than in another: what leaves far more fits by chance. */
function closest(explanations: readonly Explanation[], floor: number): Explanation[] {
  const least = Math.min(...explanations.map(({ klMeanNats }) => klMeanNats));
  return explanations.filter(({ klMeanNats }) => klMeanNats <= Math.max(1e-12, 1000 * least) || least > floor / 10);
}
