// Configs that a trainer may have computed with instead of the one at hand: each differs in one field.
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import type { Family } from "../../family/family.ts";
import { type Field, familyAt, fieldsRead, withField } from "../../family/fields.ts";

export interface OtherConfig {
  readonly family: Family;
  /** As config.json spells it: `rope_parameters.rope_theta`. */
  readonly fields: readonly string[];
  /** `1000000 → 10000` */
  readonly change: string;
}

/** Values that fields are known to have, or to fall back to, by what their name contains. */
const KNOWN: readonly (readonly [RegExp, readonly unknown[]])[] = [
  [/theta$|^rotary_emb_base$/, [1e4, 5e5, 1e6, 1.5e5, 1e5, 5e4, 5e6, 1e7, 2.5e5]],
  [/eps$|epsilon$/, [1e-5, 1e-6, 1e-8, 1e-12, 1e-7]],
  [/factor$|scal|multiplier|_scale$|alpha|mscale/, [1, 2, 4, 8, 16, 32, 0.5, 0.25, 0.1]],
  [/softcap/, [null, 30, 50, 20, 15]],
  [/partial_rotary_factor|rotary_pct/, [1, 0.5, 0.25, 0.75, 0.4]],
  [/beta_fast/, [32]],
  [/beta_slow/, [1]],
  [/low_freq/, [1]],
  [/high_freq/, [4]],
  [/hidden_act|activation/, ["silu", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu2", "relu"]],
  [/rope_type$|^type$/, ["default"]],
  [/original_max_position/, [2048, 4096, 8192, 32_768]],
  [/floor_scale/, [8192]],
  [/swiglu_limit/, [7, null]],
];

/** Numbers of tokens, experts, groups, layers: one more or less is the usual mistake. */
const COUNTS =
  /window|chunk|per_tok|top_?k|n_group|interval|step|first_k|experts|kernel|dim_model|original_max|max_position|span/;

const nextTo = (x: number): number[] => [x - 1, x + 1, 2 * x, x / 2].filter((y) => Number.isInteger(y) && y >= 0);

/** @param firstOver the first position that differs: where a window or chunk that is too long would first show is its true length */
function otherValues({ path, value }: Field, firstOver: number, isOfHead: boolean): unknown[] {
  const name = path.at(-1)!;
  const known = KNOWN.flatMap(([pattern, values]) => (pattern.test(name) ? values : []));
  const lengths =
    /window|chunk|floor_scale|original_max_position/.test(name) && firstOver > 1
      ? [firstOver, firstOver + 1, firstOver - 1]
      : [];
  if (typeof value === "boolean") return [!value, undefined];
  if (typeof value === "number") {
    const counts = Number.isInteger(value) && (COUNTS.test(name) || isOfHead) ? nextTo(value) : [];
    return [undefined, null, ...lengths, ...counts, ...known];
  }
  if (typeof value === "string") return [undefined, ...known];
  if (Array.isArray(value)) return [undefined, null, ...otherLists(value)];
  return [true, false, ...lengths, ...known];
}

/** A list with one entry as another has it, all alike, moved by one, in another order. */
function otherLists(list: readonly unknown[]): unknown[][] {
  const kinds = [...new Set(list)];
  const numbers = list.every((x) => typeof x === "number");
  const singles = list.flatMap((x, i) => kinds.flatMap((kind) => (kind === x ? [] : [list.with(i, kind)])));
  const flags =
    numbers && kinds.every((x) => x === 0 || x === 1) ? list.map((x, i) => list.with(i, 1 - Number(x))) : [];
  const moved = [
    [...list.slice(1), list[0]],
    [list.at(-1), ...list.slice(0, -1)],
  ];
  const alike = kinds.length > 1 ? kinds.map((kind) => list.map(() => kind)) : [];
  const exchanged = kinds.length === 2 ? [list.map((x) => (x === kinds[0] ? kinds[1] : kinds[0]))] : [];
  const shorter = numbers ? list.map((_, i) => list.toSpliced(i, 1)) : [];
  const named = kinds.length === 1 && typeof kinds[0] === "string" ? otherLayers(list.length, kinds[0]) : [];
  const ones = numbers ? [list.map(() => 1), list.map(() => 0)] : [];
  return [...singles, ...flags, ...moved, list.toReversed(), ...alike, ...exchanged, ...shorter, ...named, ...ones];
}

/** Layers of another kind where all are of one. */
function otherLayers(count: number, kind: string): string[][] {
  const others = ["full_attention", "sliding_attention", "chunked_attention", "linear_attention"].filter(
    (each) => each !== kind,
  );
  return others.flatMap((other) => [
    Array.from({ length: count }, () => other),
    Array.from({ length: count }, (_, i) => (i % 2 === 0 ? other : kind)),
    Array.from({ length: count }, (_, i) => (i % 2 === 0 ? kind : other)),
  ]);
}

const show = (value: unknown): string => {
  const text = value === undefined ? "its default" : JSON.stringify(value);
  return text.length <= 70 ? text : `${text.slice(0, 67)}…`;
};

/** Scaling that was dropped or added: the rotary embedding without it, in either spelling. */
function withoutScaling(config: JsonObject, path: readonly string[]): (readonly [JsonObject, readonly string[]])[] {
  const inner = path.reduce<unknown>((json, name) => (isJsonObject(json) ? json[name] : undefined), config);
  if (!isJsonObject(inner)) return [];
  return ["rope_scaling", "rope_parameters"].flatMap((name) => {
    const rope = inner[name];
    if (!isJsonObject(rope) || Object.keys(rope).length === 0) return [];
    const kept = Object.fromEntries(
      Object.entries(rope).filter(([field]) => /theta|partial_rotary_factor|mrope/.test(field)),
    );
    const fields = [...path, name];
    return [
      [withField(config, fields, { ...kept, rope_type: "default" }), fields],
      [withField(config, fields, undefined), fields],
    ] as const;
  });
}

/** Configs with one field changed, those first that are the family's own defaults. Only such as compute something else. */
export function otherConfigs(family: Family, firstOver: number): OtherConfig[] {
  const config = family.hfConfig();
  const math = JSON.stringify(family.math());
  const found = new Map<string, OtherConfig>();
  const add = (json: JsonObject, fields: readonly string[], change: string): void => {
    const other = familyAt(family, json);
    if (other === null) return;
    const id = JSON.stringify(other.math());
    if (id !== math && !found.has(id)) found.set(id, { family: other, fields, change });
  };
  for (const field of fieldsRead(family)) {
    const { path, value } = field;
    const name = path.join(".");
    for (const other of otherValues(field, firstOver, /heads$/.test(name))) {
      if (other === value) continue;
      add(withField(config, path, other), [name], `${value === undefined ? "absent" : show(value)} → ${show(other)}`);
    }
  }
  for (const path of [[], ["text_config"]])
    for (const [json, fields] of withoutScaling(config, path)) add(json, [fields.join(".")], "without scaling");
  return [...found.values()];
}
