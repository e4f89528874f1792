// The products of an adapter: which parameter of the base each changes, of which shape, by which scale.
import { InputError } from "../base/errors.ts";
import type { TensorInfo } from "../formats/checkpoint.ts";
import { type LoraConfig, patternedFor } from "./config.ts";
import type { Pair } from "./parts.ts";
import type { ProductShape } from "./product.ts";

/** One way in which the factors may lie in the parameter. */
export interface Form {
  /** Of the parameter. */
  readonly shape: readonly number[];
  readonly product: ProductShape;
  /** Which factor has the rows, and whether its experts come first or last: how `left` and `right` are taken out of them. */
  readonly order: "out-in" | "in-out";
}

export interface Product {
  /** Name of the parameter, as the model has it that was trained. */
  readonly target: string;
  readonly pair: Pair;
  readonly rank: number;
  readonly scale: number;
  /** The one that peft gives where several fit comes first. */
  readonly forms: readonly Form[];
}

/** A bias that the second factor adds. */
export interface AddedBias {
  readonly target: string;
  readonly info: TensorInfo;
  readonly scale: number;
}

/** @throws InputError ADAPTER_MALFORMED, ADAPTER_AMBIGUOUS */
export function productsOf(pairs: readonly Pair[], config: LoraConfig): readonly Product[] {
  const byModule = new Map<string, Pair[]>();
  for (const pair of pairs) byModule.set(pair.module, [...(byModule.get(pair.module) ?? []), pair]);
  return [...byModule].flatMap(([module, own]) => {
    const names = parametersOf(module, own, config);
    return names.map(({ pair, parameter }) => productOf(pair, parameter, config));
  });
}

interface Named {
  readonly pair: Pair;
  /** Null where the module as a whole was adapted. */
  readonly parameter: string | null;
}

/**
 * Keys do not tell which parameter a wrapper is of. They are nested in the order in which the module has them, each new one
 * outside of those before.
 *   huggingface/peft@v0.21.2:src/peft/tuners/tuners_utils.py, `_inject_parameters`
 */
function parametersOf(module: string, pairs: readonly Pair[], config: LoraConfig): readonly Named[] {
  const [first] = pairs;
  const isOne = pairs.length === 1 && first?.depth === 0;
  if (isOne && config.isWhole(module)) return [{ pair: first, parameter: null }];
  // A name without its module fits any module; peft saves those of experts so, beside others that name theirs.
  const ways = [true, false].map((isNamed) => namesIn(config, module, isNamed));
  const names = ways.find(({ length }) => length === pairs.length);
  if (names === undefined) {
    const all = ways.findLast(({ length }) => length > 0);
    if (all !== undefined)
      throw ambiguous(module, pairs, config, `${all.length} of its parameters are named: ${all.join(", ")}`);
    if (isOne) return [{ pair: first, parameter: null }];
    throw ambiguous(module, pairs, config, "no target_parameters that name its parameters");
  }
  const inner = pairs.toSorted((x, y) => y.depth - x.depth);
  return inner.map((pair, i) => ({ pair, parameter: names[i]! }));
}

/** Names of a module's parameters by the patterns that name the module, or by all that may be of it. */
function namesIn({ parameters }: LoraConfig, module: string, isNamed: boolean): readonly string[] {
  const names = parameters.flatMap((pattern) => {
    const dot = pattern.lastIndexOf(".");
    const [path, parameter] = [pattern.slice(0, Math.max(0, dot)), pattern.slice(dot + 1)];
    const fits = path === "" ? !isNamed : `.${module}`.endsWith(`.${path}`);
    return fits ? [parameter] : [];
  });
  return [...new Set(names)].toSorted(inModuleOrder);
}

/** Modules of experts declare gate and up before down, and weights before their biases. */
const inModuleOrder = (x: string, y: string): number => placeOf(x) - placeOf(y);
const placeOf = (name: string): number => (/^(?:gate_up|gate|up|w1|w3|w13)/.test(name) ? 0 : 1);

function productOf(pair: Pair, parameter: string | null, config: LoraConfig): Product {
  const { module, kind } = pair;
  const name = parameter === null ? module : `${module}.${parameter}`;
  const rank = patternedFor(config.rankPattern, name, config.rank, config.path);
  const alpha = patternedFor(config.alphaPattern, name, config.alpha, config.path);
  const scale = config.isRankStabilised ? alpha / Math.sqrt(rank) : alpha / rank;
  const target = parameter === null ? `${module}.weight` : name;
  const forms = kind === "embedding" ? embeddingForms(pair, rank, config) : linearForms(pair, rank, parameter, config);
  return { target, pair, rank, scale, forms };
}

function embeddingForms({ a, b }: Pair, rank: number, config: LoraConfig): Form[] {
  const [r = 0, rows = 0] = a.shape;
  const [columns = 0, inner] = b.shape;
  if (r !== rank || inner !== rank) throw otherRank(a, b, rank, config);
  return [{ shape: [rows, columns], product: { count: 1, rows, rank, columns }, order: "in-out" }];
}

function linearForms({ a, b }: Pair, rank: number, parameter: string | null, config: LoraConfig): Form[] {
  const [all = 0, inner = 0] = a.shape;
  const [outer = 0, other] = b.shape;
  const count = all / rank;
  if (other !== all || !Number.isInteger(count) || count === 0 || (count > 1 && parameter === null))
    throw otherRank(a, b, rank, config);
  const lead = count > 1 ? [count] : [];
  const form = (order: Form["order"]): Form => {
    const [rows, columns] = order === "out-in" ? [outer, inner] : [inner, outer];
    return { shape: [...lead, rows, columns], product: { count, rows, rank, columns }, order };
  };
  // Before 0.21 peft took every stack as `experts × in × out`; since then as `experts × out × in` where the model says so.
  if (count > 1) return [form("out-in"), form("in-out")];
  return config.isTransposed ? [form("in-out"), form("out-in")] : [form("out-in")];
}

const otherRank = (a: TensorInfo, b: TensorInfo, rank: number, { path }: LoraConfig): InputError =>
  new InputError("ADAPTER_MALFORMED", `${path}: "${a.key}" and "${b.key}" are no factors of rank ${rank}`, {
    tensor: a.key,
    file: path,
    expected: `[${rank}, in] and [out, ${rank}], as r and rank_pattern say; of stacked experts a multiple`,
    found: `[${a.shape.join(", ")}] and [${b.shape.join(", ")}]`,
    help: "give the adapter_config.json that was saved with these weights",
  });

const ambiguous = (module: string, pairs: readonly Pair[], { path }: LoraConfig, found: string): InputError =>
  new InputError(
    "ADAPTER_AMBIGUOUS",
    `${path}: ${pairs.length} products change "${module}", and of which parameters?`,
    {
      tensor: `${pairs[0]?.a.key}`,
      file: path,
      expected: `target_parameters with ${pairs.length} parameters of this module`,
      found,
      help: "give the adapter_config.json that was saved with these weights",
    },
  );
