// Makes an adapter of the description of a family: how it reads a config, and one row per layout. The config's type
// stays inside.
import type { Forward, KnownDifference } from "../../numerics/graph.ts";
import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { isRanked, type Rule } from "../table/rule.ts";
import type { Adapter, Shapes } from "./adapter.ts";
import type { Encodable } from "./encodable.ts";
import type { Family, MathFacts, ModelFacts } from "./family.ts";
import { checkSpec } from "./lacking.ts";
import type { Axes, HfLayout, LayoutFacts, LayoutFile, NativeLayout, StackRow } from "./layout.ts";
import { sameAnswers } from "./same-answers.ts";
import { type Upstream, type UpstreamChange, upstreamOf } from "./upstream.ts";

/**
 * A forward pass at a config, as versions of upstream compute it, or why there is none. Throws InputError NO_GRAPH for a
 * config that upstream's own fails on.
 */
export type Graph<C> = ((config: C, upstream: Upstream) => Forward) | { readonly none: string };

/** A native layout of a family whose config is a `C`. */
export interface LayoutRow<C> {
  readonly name: string;
  readonly trainer: string;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  /** Its rules say how rank shards lie. */
  readonly ranked?: boolean | undefined;
  readonly rules: (config: C) => readonly Rule[];
  /** Where its axes are not those of the family. */
  readonly axes?: ((config: C) => Axes) | undefined;
  readonly graph: Graph<C>;
  readonly differences?: ((config: C, upstream: Upstream) => readonly KnownDifference[]) | undefined;
  readonly files?: ((config: C) => readonly LayoutFile[]) | undefined;
  readonly configOf?: LayoutFacts["configOf"];
  /** Tensors with a row a token, which the trainer pads. */
  readonly padded?: readonly string[] | undefined;
  readonly emptyEntries?: ((config: C) => readonly string[]) | undefined;
  readonly stackOf?: ((key: string) => StackRow | null) | undefined;
}

/** A family whose config is a `C`; fields as in Adapter, Family and Layout. */
export interface FamilySpec<C>
  extends Pick<
    Adapter,
    "family" | "modelTypes" | "generic" | "flavours" | "modalities" | "encodings" | "known" | "probes" | "sources"
  > {
  readonly encodable?: Encodable | undefined;
  readonly changes?: readonly (UpstreamChange & { readonly concerns: (config: C) => boolean })[] | undefined;
  /** As `open` of an Adapter. */
  readonly parse: (json: JsonObject, where: string, shapes?: Shapes) => C;
  readonly facts: (config: C) => ModelFacts;
  readonly axes: (config: C) => Axes;
  readonly math: (config: C, json: JsonObject) => MathFacts;
  /** @param json the parsed config; HF's own is returned unchanged */
  readonly hfConfig: (config: C, json: JsonObject) => JsonObject;
  readonly hf: { readonly graph: Graph<C>; readonly openedBy?: string | undefined };
  readonly layouts: readonly [LayoutRow<C>, ...LayoutRow<C>[]];
}

/**
 * @throws InputError ADAPTER_INVALID, naming a missing field: nothing else tells the author of a module in JavaScript
 */
export function defineFamily<C>(spec: FamilySpec<C>): Adapter {
  checkSpec(spec);
  const { family, modelTypes, generic, flavours, modalities, encodings, known, probes, sources, changes = [] } = spec;
  const hf = {
    name: "hf",
    trainer: "transformers",
    side: "hf",
    ranked: false,
    noGraph: reasonOf(spec.hf.graph),
    ...(spec.hf.openedBy === undefined ? {} : { openedBy: spec.hf.openedBy }),
  } as const;
  const [first, ...rest] = spec.layouts;
  const opened = new WeakMap<JsonObject, Opened>();
  return {
    ...{ family, modelTypes, flavours, modalities, probes, sources },
    ...(generic === undefined ? {} : { generic }),
    ...(encodings === undefined ? {} : { encodings }),
    ...(known === undefined ? {} : { known }),
    changes,
    hf,
    layouts: [factsOf(first), ...rest.map(factsOf)],
    open(json, where, shapes): Family {
      const last = opened.get(json);
      const isSame = last?.where === where && (last.shapes === undefined) === (shapes === undefined);
      if (isSame && last.shapes?.asked !== true) return last.family;
      const seen = shapes && askedOf(shapes);
      const at = (config: JsonObject): At<C> => ({
        spec,
        hf,
        config: spec.parse(config, where, seen?.shapes),
        json: config,
        at,
      });
      const made = familyAt(at(json), upstreamOf(json));
      opened.set(json, { where, shapes: seen, family: made });
      return made;
    },
  };
}

/** A config that was opened last. It says the same beside any tensors where nobody asked for their shapes. */
interface Opened {
  readonly where: string;
  /** Undefined where there were none. */
  readonly shapes: { readonly asked: boolean } | undefined;
  readonly family: Family;
}

/** Shapes that tell whether anybody looked at them. */
function askedOf(shapes: Shapes): { readonly shapes: Shapes; readonly asked: boolean } {
  const seen = { asked: false, shapes };
  seen.shapes = new Proxy(shapes, {
    get(target, name) {
      seen.asked = true;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return seen;
}

/** A family at a config. */
interface At<C> {
  readonly spec: FamilySpec<C>;
  readonly hf: Omit<HfLayout, "forward">;
  readonly config: C;
  readonly json: JsonObject;
  /** The same at another. */
  readonly at: (config: JsonObject) => At<C>;
}

function familyAt<C>(one: At<C>, upstream: Upstream): Family {
  const { spec, hf, config, json, at } = one;
  const { vocabSize, maxPositions, dtype, centredNorms, vision, longOnly } = spec.facts(config);
  const { family, encodable, known, changes = [] } = spec;
  const forward = (layout: LayoutFacts, graph: Graph<C>) => (): Forward =>
    typeof graph === "function" ? graph(config, upstream) : noGraph(spec, layout);
  const bind = (row: LayoutRow<C>): NativeLayout =>
    bindRow(spec, config, row, upstream, (facts) => forward(facts, row.graph));
  const [first, ...rest] = spec.layouts;
  return {
    ...{ family, vocabSize, maxPositions, dtype, upstream },
    at: (other) => familyAt(one, { ...upstream, ...other }),
    reopened: (other) => familyAt(at(other), upstream),
    changes: changes.filter(({ concerns }) => concerns(config)),
    ...(centredNorms === undefined ? {} : { centredNorms }),
    ...(vision === undefined ? {} : { vision }),
    ...(longOnly === undefined ? {} : { longOnly }),
    ...(encodable === undefined ? {} : { encodable }),
    ...(known === undefined ? {} : { known }),
    hf: { ...hf, forward: forward(hf, spec.hf.graph) },
    layouts: [bind(first), ...rest.map(bind)],
    hfConfig: () => spec.hfConfig(config, json),
    math: () => spec.math(config, json),
  };
}

const reasonOf = <C>(graph: Graph<C>): string | null => (typeof graph === "function" ? null : graph.none);

const factsOf = <C>({ name, trainer, since, until, ranked = false, graph, configOf }: LayoutRow<C>) =>
  ({ name, trainer, side: "native", since, until, ranked, noGraph: reasonOf(graph), configOf }) as const;

/** What a layout was bound of. */
const BOUND = new WeakMap<NativeLayout, { readonly row: unknown; readonly config: unknown }>();

function bindRow<C>(
  spec: FamilySpec<C>,
  config: C,
  row: LayoutRow<C>,
  upstream: Upstream,
  forward: (facts: LayoutFacts) => () => Forward,
): NativeLayout {
  const facts = factsOf(row);
  const axesAt = row.axes ?? spec.axes;
  let isAlike: ((config: unknown) => boolean) | undefined;
  const layout: NativeLayout = {
    ...facts,
    rules() {
      const rules = row.rules(config);
      if (isRanked(rules) === facts.ranked) return rules;
      throw new RangeError(`layout ${row.name}: "ranked" is ${facts.ranked}, its rules say otherwise`);
    },
    axes: () => axesAt(config),
    hasTableOf(other) {
      const of = BOUND.get(other);
      isAlike ??= sameAnswers(config, (asked) => [row.rules(asked), axesAt(asked)]);
      return of?.row === row && isAlike(of.config);
    },
    forward: forward(facts),
    differences: () => row.differences?.(config, upstream) ?? [],
    files: () => row.files?.(config) ?? [],
    padded: () => new Map((row.padded ?? []).map((key) => [key, spec.facts(config).vocabSize])),
    emptyEntries: () => row.emptyEntries?.(config) ?? [],
    stackOf: (key) => row.stackOf?.(key) ?? null,
  };
  BOUND.set(layout, { row, config });
  return layout;
}

function noGraph<C>({ family, hf, layouts }: FamilySpec<C>, { name, side }: LayoutFacts): never {
  const trainers = new Set(layouts.filter(({ graph }) => typeof graph === "function").map(({ trainer }) => trainer));
  const runnable = [
    ...(typeof hf.graph === "function" ? ["hf"] : []),
    ...[...trainers].map((each) => `a ${each} layout`),
  ];
  if (runnable.length === 0) {
    throw new InputError("NO_GRAPH", `${family}: there is no forward graph of this family yet`, {
      expected: "a family with graphs (see `convert-checkpoint families`)",
      found: family,
      help: WITHOUT_GRAPH,
    });
  }
  throw new InputError("NO_GRAPH", `${family}: there is no forward graph of layout ${name}`, {
    expected: runnable.join(" or "),
    found: name,
    help:
      side === "hf"
        ? WITHOUT_GRAPH
        : "convert it to hf first and compare that: `diff` shows that both hold the same weights",
  });
}

const WITHOUT_GRAPH = "use `roundtrip`, `diff` and `validate`, which need no graph";
