// Where keys fit nothing: the layout and the reading that most of them fit, a key that does not, and what is missing.
import { InputError } from "../../base/errors.ts";
import type { JsonObject } from "../../base/json.ts";
import type { Adapter } from "../../family/adapter.ts";
import { type LayoutFacts, layoutsOf } from "../../family/layout.ts";
import { candidatesFor, knownKinds } from "../detect.ts";
import { afterReading, type Kinds, type Reading } from "./readings.ts";

interface Nearest {
  readonly adapter: Adapter;
  readonly layout: LayoutFacts;
  readonly reading: Reading;
  /** Keys that fit, of how many. */
  readonly fitting: number;
  readonly all: number;
  /** A key of the checkpoint that does not fit. */
  readonly unfit: string | undefined;
  /** Kinds of required keys that no key has, of how many. */
  readonly missing: readonly string[];
  readonly required: number;
}

/** UNKNOWN_FAMILY, for keys that fit nothing under any of the readings. */
export function noFit(
  adapters: readonly Adapter[],
  kinds: Kinds,
  readings: readonly Reading[],
  config: JsonObject | null,
  family: string | undefined,
): InputError {
  const { families } = candidatesFor(adapters, config, family);
  const nearest = nearestOf(families, kinds, readings, config);
  const [only, ...others] = families;
  const isKnown = only !== undefined && others.length === 0;
  const layouts = isKnown ? layoutsOf(only).map(({ name }) => name) : adapters.map((adapter) => adapter.family);
  const message = isKnown ? `the keys fit no layout of ${only.family}` : "the keys are of no known family and layout";
  return new InputError("UNKNOWN_FAMILY", message, {
    ...(nearest?.unfit === undefined ? {} : { tensor: nearest.unfit }),
    expected: layouts.join(", "),
    found: nearest === undefined ? noneFits(kinds) : foundIn(nearest),
    help: isKnown ? helpInFamily(nearest, only) : helpFor(nearest, config),
  });
}

function nearestOf(
  families: readonly Adapter[],
  kinds: Kinds,
  readings: readonly Reading[],
  config: JsonObject | null,
): Nearest | undefined {
  let best: Nearest | undefined;
  for (const reading of readings) {
    for (const adapter of families) {
      for (const layout of layoutsOf(adapter)) {
        const found = nearness(adapter, layout, kinds, reading, config);
        const isNearer =
          found.fitting > (best?.fitting ?? 0) ||
          (best !== undefined && found.fitting === best.fitting && found.missing.length < best.missing.length);
        if (isNearer) best = found;
      }
    }
  }
  return best;
}

function nearness(
  adapter: Adapter,
  layout: LayoutFacts,
  kinds: Kinds,
  reading: Reading,
  config: JsonObject | null,
): Nearest {
  const about = { adapter, layout, reading };
  let best: Nearest = { ...about, fitting: 0, all: 0, unfit: undefined, missing: [], required: 0 };
  for (const known of knownKinds(adapter, layout, config)) {
    const found = new Set<string>();
    let [fitting, all] = [0, 0];
    let unfit: string | undefined;
    for (const [kind, { count, example }] of kinds) {
      const canonical = known.canonical(reading.rename(kind));
      all += count;
      if (canonical === undefined) unfit ??= example;
      else {
        fitting += count;
        for (const each of canonical) found.add(each);
      }
    }
    const missing = known.requiredKinds.filter((kind) => !found.has(kind));
    const isBetter = fitting > best.fitting || (fitting === best.fitting && missing.length < best.missing.length);
    if (best.all === 0 || isBetter)
      best = { ...about, fitting, all, unfit, missing, required: known.requiredKinds.length };
  }
  return best;
}

function noneFits(kinds: Kinds): string {
  const [first] = kinds.values();
  return first === undefined ? "no tensors" : `none that fits; keys like "${first.example}"`;
}

/** `39 of 40 keys fit layout hf of llama3 after "_orig_mod" is taken off; not "x"` */
function foundIn({ adapter, layout, reading, fitting, all, unfit, missing, required }: Nearest): string {
  const fit = `${fitting} of ${all} keys fit layout ${layout.name} of ${adapter.family}${afterReading(reading)}`;
  const not = unfit === undefined ? "" : `; not "${unfit}"`;
  const [first] = missing;
  const lacking =
    first === undefined
      ? ""
      : `; ${missing.length} of its ${required} kinds of tensors are missing, such as "${first}"`;
  return fit + not + lacking;
}

const helpInFamily = (nearest: Nearest | undefined, { family }: Adapter): string =>
  nearest === undefined
    ? `is its config of another model? Of a layout that is not known, --adapter loads what knows it; --to raw changes the container alone`
    : `is this the whole checkpoint, and its config the right one for ${family}?`;

const helpFor = (nearest: Nearest | undefined, config: JsonObject | null): string =>
  nearest !== undefined && nearest.fitting * 2 >= nearest.all
    ? `name the family with --family${config === null ? ", and give its config with --config" : ""}, if it is ${nearest.adapter.family}`
    : "load an adapter of its family with --adapter, or change only the container with --to raw";
