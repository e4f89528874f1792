// Which family and layout a checkpoint is, from its keys and, where there is one, its config.

import { serialize } from "node:v8";
import { InputError, UsageError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Adapter } from "../family/adapter.ts";
import { bound, type Family, tableLayout } from "../family/family.ts";
import { type LayoutFacts, layoutNamed, layoutsOf, type NativeLayout } from "../family/layout.ts";
import { abstractKey, axesOf } from "../table/dims/key-pattern.ts";
import type { Rule } from "../table/rule.ts";
import { kindsOf, MOST_KINDS } from "./keys/readings.ts";
import { KnownKinds, share } from "./known-kinds.ts";

export interface Detected {
  readonly adapter: Adapter;
  /** One of the adapter's. */
  readonly layout: LayoutFacts;
}

/** What the user settled with --family and --layout; both together are taken as they are. */
export interface Settled {
  readonly family?: string;
  readonly layout?: string;
}

/** What decides between layouts with the same keys. */
export interface Evidence {
  /** Whether the files are rank shards. */
  readonly ranks?: boolean;
  /** Name of the layout that the record beside the checkpoint tells of. */
  readonly recorded?: () => string | undefined;
}

/** How well keys fit a layout. */
export interface Fit extends Detected {
  /** Kinds of keys of the checkpoint that the layout has, and kinds it requires that the checkpoint has, each 0 to 1. */
  readonly known: number;
  readonly present: number;
}

/**
 * A candidate must know this share of the checkpoint's kinds of keys, and find this share of the kinds that it
 * requires. By keys alone, one kind too many or too few counts as damage, more as another family: a dense model has
 * most of the keys of a MoE.
 */
const ENOUGH_BY_KEYS = 8 / 9;
const ENOUGH_IN_FAMILY = 0.5;

/** Kinds of keys that an error lists of each layout. */
const MOST_MARKS = 3;

/**
 * Throws UsageError where the user names what does not exist, InputError UNKNOWN_FAMILY where nothing fits, AMBIGUOUS_LAYOUT where several fit equally well.
 * @param keys of the model's tensors
 */
export function detect(
  adapters: readonly Adapter[],
  keys: Pick<ReadonlyMap<string, unknown>, "keys">,
  config: JsonObject | null,
  settled: Settled = {},
  evidence: Evidence = {},
): Detected {
  const { adapter, layout } = fitOf(adapters, new Set(kindsOf(keys.keys()).keys()), config, settled, evidence);
  return { adapter, layout };
}

/** As `detect`, with how well the keys fit. @param kinds of keys, as `abstractKey` writes them */
export function fitOf(
  adapters: readonly Adapter[],
  kinds: ReadonlySet<string>,
  config: JsonObject | null,
  settled: Settled = {},
  evidence: Evidence = {},
): Fit {
  const chosen = chosenBy(adapters, settled);
  const { families, isSettled, ownConfig } = candidatesFor(adapters, config, settled.family);
  if (chosen !== undefined) return judge(chosen.adapter, chosen.layout, kinds, ownConfig, isSettled);
  if (kinds.size > MOST_KINDS) throw unknownFamily(adapters, families, config, kinds);
  const enough = isSettled ? ENOUGH_IN_FAMILY : ENOUGH_BY_KEYS;
  const candidates = families
    .flatMap((adapter) =>
      possibleLayouts(adapter, settled.layout).map((layout) => judge(adapter, layout, kinds, ownConfig, isSettled)),
    )
    .filter(({ known, present }) => known >= enough && present >= enough);
  const score = ({ known, present }: Fit) => known + present;
  const best = Math.max(...candidates.map(score));
  const [first, ...more] = likelier(
    candidates.filter((candidate) => score(candidate) === best),
    evidence,
  );
  if (isSettled && (first === undefined || !isWhole(first)))
    refuseOtherFamily(adapters, families, kinds, settled.family);
  if (first === undefined) throw unknownFamily(adapters, families, config, kinds);
  const others = more.filter((other) => !isSameTable(first, other, ownConfig, kinds));
  if (others.length > 0) throw ambiguous([first, ...others]);
  return first;
}

/** Families that a checkpoint may be of, and what is known of it before its keys are looked at. */
export function candidatesFor(adapters: readonly Adapter[], config: JsonObject | null, family: string | undefined) {
  const possible = adapters.filter((adapter) => isPossible(adapter, config, family));
  const specific = possible.filter(({ generic }) => generic !== true);
  const isSettled = family !== undefined || typeof config?.model_type === "string";
  return { families: specific.length > 0 ? specific : possible, isSettled, ownConfig: isSettled ? config : null };
}

const isWhole = ({ known, present }: Fit): boolean => known === 1 && present === 1;

/**
 * Keys that are all of one other family, where they are not all of the settled one, are no damaged checkpoint.
 * Throws InputError OTHER_FAMILY.
 */
function refuseOtherFamily(
  adapters: readonly Adapter[],
  settled: readonly Adapter[],
  kinds: ReadonlySet<string>,
  byUser: string | undefined,
): void {
  const [own] = settled;
  const fits = (adapter: Adapter) =>
    layoutsOf(adapter).some((layout) => probedKinds(adapter, layout).some((known) => known.areAll(kinds)));
  const found = adapters.filter((adapter) => adapter.generic !== true && !settled.includes(adapter) && fits(adapter));
  if (own === undefined || found.length === 0) return;
  const names = found.map(({ family }) => family).join(" or ");
  const who = byUser === undefined ? "the config" : "--family";
  throw new InputError("OTHER_FAMILY", `${who} says ${own.family}, the keys look like ${names}`, {
    expected: `keys of ${own.family}`,
    found: `keys of ${names}`,
    help:
      byUser === undefined
        ? `give the config of the ${names} model: beside the checkpoint, or with --config where there is none`
        : `leave out --family, or name ${names}`,
  });
}

/**
 * Of candidates with the same keys, those that the evidence names: the layout of the record, or the ranked or unranked
 * ones.
 */
function likelier(candidates: readonly Fit[], { ranks = false, recorded }: Evidence): readonly Fit[] {
  if (candidates.length < 2) return candidates;
  const named = candidates.filter(({ layout }) => layout.name === recorded?.());
  const fitting = named.length > 0 ? named : candidates.filter(({ layout }) => layout.ranked === ranks);
  return fitting.length > 0 ? fitting : candidates;
}

function chosenBy(adapters: readonly Adapter[], { family, layout }: Settled): Detected | undefined {
  const possible = adapters.filter((adapter) => family === undefined || adapter.family === family);
  if (possible.length === 0)
    throw noSuch(
      "UNKNOWN_FAMILY_NAME",
      "family",
      `${family}`,
      adapters.map((adapter) => adapter.family),
    );
  if (layout === undefined) return undefined;
  const [named] = possible.flatMap((adapter) => {
    const found = layoutNamed(adapter, layout);
    return found === undefined ? [] : [{ adapter, layout: found }];
  });
  if (named === undefined)
    throw noSuch(
      "UNKNOWN_LAYOUT_NAME",
      "layout",
      layout,
      possible.flatMap((adapter) => layoutsOf(adapter).map(({ name }) => name)),
    );
  return family === undefined ? undefined : named;
}

function noSuch(code: string, what: "family" | "layout", found: string, known: readonly string[]): UsageError {
  const expected = [...new Set(known)].join(", ");
  return new UsageError(code, `there is no ${what} "${found}"`, {
    expected,
    found,
    help: `known are ${expected}`,
  });
}

const possibleLayouts = (adapter: Adapter, settled: string | undefined): readonly LayoutFacts[] =>
  layoutsOf(adapter).filter(({ name }) => settled === undefined || name === settled);

function isPossible(adapter: Adapter, config: JsonObject | null, family: string | undefined): boolean {
  if (family !== undefined) return adapter.family === family;
  if (typeof config?.model_type === "string") return adapter.modelTypes.includes(config.model_type);
  return adapter.generic !== true;
}

/** The best of the adapter's probes, the config among them: each shows one set of the keys that the family can have. */
function judge(
  adapter: Adapter,
  layout: LayoutFacts,
  kinds: ReadonlySet<string>,
  config: JsonObject | null,
  isSettled: boolean,
): Fit {
  const scores = knownKinds(adapter, layout, config).map((known) => {
    const found = [...kinds].map((kind) => known.canonical(kind)).filter((kind) => kind !== undefined);
    return { known: share(found.length, kinds.size), present: known.presence(found.flat(), isSettled) };
  });
  const none = { known: 0, present: 0 };
  const best = scores.reduce((a, b) => (b.known + b.present > a.known + a.present ? b : a), none);
  return { adapter, layout, ...best };
}

/** Kinds of keys that a layout can have: at each of the adapter's probes, and at the config. */
export const knownKinds = (adapter: Adapter, layout: LayoutFacts, config: JsonObject | null): readonly KnownKinds[] => [
  ...probedKinds(adapter, layout),
  ...configuredKinds(adapter, layout, config),
];

/** Of the last config that an adapter was asked about: keys are read in several ways, and targets have their source's. */
const AT_CONFIG = new WeakMap<
  Adapter,
  { readonly bytes: Buffer; readonly of: Map<LayoutFacts, readonly KnownKinds[]> }
>();

function configuredKinds(adapter: Adapter, layout: LayoutFacts, config: JsonObject | null): readonly KnownKinds[] {
  if (config === null) return [];
  // As JSON text, 1e999 would be null, and -0 would be 0.
  const bytes = serialize(config);
  const last = AT_CONFIG.get(adapter);
  const { of } = last?.bytes.equals(bytes) ? last : { of: new Map<LayoutFacts, readonly KnownKinds[]>() };
  const kinds = of.get(layout) ?? rulesAt(adapter, layout, config).map((rules) => new KnownKinds(rules, layout.side));
  AT_CONFIG.set(adapter, { bytes, of: of.set(layout, kinds) });
  return kinds;
}

const tableAt = (family: Family, layout: LayoutFacts): NativeLayout => tableLayout(family, bound(family, layout));

/** They depend on nothing but the adapter: whoever asks about many checkpoints has them made once. */
const KINDS = new WeakMap<Adapter, Map<LayoutFacts, readonly KnownKinds[]>>();

/** Kinds of keys that a layout has at each of the adapter's probes. */
function probedKinds(adapter: Adapter, layout: LayoutFacts): readonly KnownKinds[] {
  const ofAdapter = KINDS.get(adapter) ?? new Map<LayoutFacts, readonly KnownKinds[]>();
  const kinds = ofAdapter.get(layout) ?? probed(adapter, layout).map((rules) => new KnownKinds(rules, layout.side));
  KINDS.set(adapter, ofAdapter.set(layout, kinds));
  return kinds;
}

/** Tables of a layout at each of the adapter's probes. */
const probed = (adapter: Adapter, layout: LayoutFacts): (readonly Rule[])[] =>
  adapter.probes.map((probe) => tableAt(adapter.open(probe, adapter.family), layout).rules());

/**
 * The table at a config, without rules for kinds of layers that the model lacks. Empty where the family cannot read the
 * config: opening the checkpoint reports that.
 */
function rulesAt(adapter: Adapter, layout: LayoutFacts, config: JsonObject | null): (readonly Rule[])[] {
  if (config === null) return [];
  try {
    const table = tableAt(adapter.open(config, adapter.family), layout);
    const axes = table.axes();
    const isEmpty = (axis: string) => axes[axis] === 0 || (Array.isArray(axes[axis]) && axes[axis].length === 0);
    return [table.rules().filter((rule) => !keyAxesOf(rule).some(isEmpty))];
  } catch (error) {
    if (error instanceof InputError) return [];
    throw error;
  }
}

/** Axes of the keys of a rule. */
function keyAxesOf(rule: Rule): readonly string[] {
  if (rule.kind === "map") return [...rule.native, ...rule.hf].flatMap(({ key }) => axesOf(key));
  if (rule.kind === "tie") return axesOf(rule.alias);
  return rule.kind === "drop" ? axesOf(rule.key) : [];
}

/** Whether two layouts of a family are the same for this model: they may differ only in experts, which it may lack. */
function isSameTable(a: Detected, b: Detected, config: JsonObject | null, kinds: ReadonlySet<string>): boolean {
  if (config === null || a.adapter !== b.adapter || a.layout.side === "hf" || b.layout.side === "hf") return false;
  const isAbsent = (rule: Rule) =>
    rule.kind === "map" && rule.optional && !rule.native.some(({ key }) => kinds.has(abstractKey(key)));
  const [one, other] = [a, b].map(({ adapter, layout }) =>
    JSON.stringify(rulesAt(adapter, layout, config).map((rules) => rules.filter((rule) => !isAbsent(rule)))),
  );
  return one === other;
}

/** Whether files of the family come in several orders of dims. */
export const hasOrders = (adapter: Adapter): boolean =>
  probed(adapter, adapter.hf)
    .flat()
    .some(
      (rule) => rule.kind === "map" && (rule.order !== undefined || rule.hf.some(({ orders }) => orders !== undefined)),
    );

function unknownFamily(
  all: readonly Adapter[],
  possible: readonly Adapter[],
  config: JsonObject | null,
  kinds: ReadonlySet<string>,
): InputError {
  const names = all.map(({ family }) => family).join(", ");
  const byConfig = config === null ? ", give its config with --config" : "";
  const help = `supported are ${names}; name one with --family${byConfig}, or load an adapter with --adapter`;
  if (possible.length === 0 && config !== null && typeof config.model_type === "string") {
    const found = config.model_type;
    return new InputError("UNKNOWN_FAMILY", `no family for model_type "${found}"`, { expected: names, found, help });
  }
  const [example] = kinds;
  const found = example === undefined ? "no tensors" : `keys like "${example}"`;
  const [only, ...others] = possible;
  if (only === undefined || others.length > 0)
    return new InputError("UNKNOWN_FAMILY", "the keys are of no known family and layout", {
      expected: names,
      found,
      help,
    });
  const expected = layoutsOf(only)
    .map(({ name }) => name)
    .join(", ");
  return new InputError("UNKNOWN_FAMILY", `the keys fit no layout of ${only.family}`, {
    expected,
    found,
    help: `its layouts are ${expected}: is this the whole checkpoint, and its config the right one?`,
  });
}

/** Layouts of one family may differ in a tensor or two. Then these tensors are what is missing. */
function ambiguous(candidates: readonly Fit[]): InputError {
  const names = candidates.map(({ adapter, layout }) => `${adapter.family} ${layout.name}`);
  const kinds = candidates.map(
    ({ adapter, layout }) => new Set(probedKinds(adapter, layout).flatMap((known) => [...known.spelled])),
  );
  const marks = kinds.map((own, i) => [...own].filter((kind) => kinds.every((all, j) => j === i || !all.has(kind))));
  const [tensor] = marks[0] ?? [];
  const isClear = tensor !== undefined && marks.every(({ length }) => length > 0 && length <= MOST_MARKS);
  const missing = marks.map((own) => own.map((kind) => `"${kind}"`).join(", ")).join(" or ");
  const detail = isClear ? `; what tells them apart is missing: ${missing}` : "";
  return new InputError("AMBIGUOUS_LAYOUT", `the keys fit several layouts: ${names.join(", ")}${detail}`, {
    ...(isClear ? { tensor } : {}),
    expected: isClear ? missing : "one family and layout",
    found: names.join(", "),
    help: `${isClear ? "is this the whole checkpoint? If it is, " : ""}choose with --family and --layout`,
  });
}
