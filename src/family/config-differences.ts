// In what two configs give other mathematics, by the fields that their files have. No list says which field a formula
// reads: each that is written otherwise is put into the other config alone, and what that config computes is looked at.
import { InputError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { defaultTaken } from "./defaults.ts";
import type { Family } from "./family.ts";
import { allRead } from "./fields.ts";
import { mathematics } from "./mathematics.ts";
import { configOf, type WrittenFields, writtenFields } from "./written-fields.ts";

export interface ConfigDifference {
  /** Path in the config file of b, else of a: `rope_parameters.rope_theta`, `text_config.rms_norm_eps`. */
  readonly field: string;
  /** As written; null where the file does not have it. */
  readonly a: unknown;
  readonly b: unknown;
  /** Which file does not have it, and what stands for it, where one value does. */
  readonly absent?: { readonly in: "a" | "b"; readonly default?: unknown };
}

/** Fields that give other mathematics, those without an effect aside. */
export const compareConfigs = (a: Family, b: Family): ConfigDifference[] => new ConfigPair(a, b).differences;

/**
 * Fields that two configs have otherwise, and that nothing here reads: what they say is not compared. Those are left out that
 * no forward pass of any model reads.
 */
export function unreadDifferences(a: Family, b: Family): string[] {
  const sides = [a, b].map((family) => ({ read: allRead(family), fields: writtenFields(family.hfConfig(), false) }));
  const text = (fields: WrittenFields, path: string) => JSON.stringify(fields.get(path)?.value ?? null);
  const paths = new Set(sides.flatMap(({ fields }) => [...fields.keys()]));
  return [...paths].filter(
    (path) =>
      !UNREAD.test(path) &&
      !sides.some(({ read }) => read.has(path)) &&
      new Set(sides.map(({ fields }) => text(fields, path))).size > 1,
  );
}

/** Two configs of one family. */
export class ConfigPair {
  readonly differences: ConfigDifference[];
  /** By the field of a difference, the path that both configs are compared by. */
  private readonly paths = new Map<string, string>();
  private readonly a: Side;
  private readonly b: Side;

  constructor(a: Family, b: Family) {
    const reach = Math.max(a.maxPositions, b.maxPositions);
    const [renamed, as] = [sidesOf([a, b], true, reach), sidesOf([a, b], false, reach)];
    [this.a, this.b] = renamed.every((side) => side.isFaithful()) ? renamed : as;
    this.differences = isSame(this.a.math, this.b.math) ? [] : this.find();
  }

  /** The family of one side with some fields as the other has them; null where nothing can be made of that. */
  with(side: "a" | "b", fields: readonly string[]): Family | null {
    const paths = fields.map((field) => this.paths.get(field) ?? field);
    return side === "a" ? this.a.having(this.b, paths) : this.b.having(this.a, paths);
  }

  private find(): ConfigDifference[] {
    const paths = [...new Set([...this.a.fields.keys(), ...this.b.fields.keys()])];
    const written = paths.filter((path) => this.a.text(path) !== this.b.text(path));
    const moved = new Map(written.map((path) => [path, this.moves(path)]));
    const chosen: string[] = [];
    for (const kind of [true, null, false]) {
      if (!this.explains(chosen)) chosen.push(...written.filter((path) => moved.get(path) === kind));
    }
    const found = chosen.filter((path) => !UNREAD.test(path)).map((path) => this.differenceAt(path));
    return found.length > 0 ? found : this.computed();
  }

  /** Whether a field alone gives other mathematics, in one config or the other; null where no config can be made of it. */
  private moves(path: string): boolean | null {
    const moved = [this.a.isMovedBy(this.b, path), this.b.isMovedBy(this.a, path)];
    return moved.includes(true) || (moved.includes(null) ? null : false);
  }

  /** Whether a computes what b does once these fields are as b has them. */
  private explains(paths: readonly string[]): boolean {
    const made = paths.length === 0 ? null : this.a.having(this.b, paths);
    return made !== null && isSame(mathematics(made, this.a.reach), this.b.math);
  }

  private differenceAt(path: string): ConfigDifference {
    const [x, y] = [this.a.fields.get(path), this.b.fields.get(path)];
    const field = (y ?? x)!.at.join(".");
    this.paths.set(field, path);
    const without = x === undefined ? (["a", this.a] as const) : y === undefined ? (["b", this.b] as const) : null;
    const taken = without?.[1].defaultOf(path);
    const absent = without && { absent: { in: without[0], ...(taken === undefined ? {} : { default: taken }) } };
    return { field, a: x?.value ?? null, b: y?.value ?? null, ...absent };
  }

  /** Where no written field tells it, as with sizes that a config leaves to the tensors. */
  private computed(): ConfigDifference[] {
    const [left, right] = [this.a.family.math(), this.b.family.math()];
    return [...new Set([...this.a.math.keys(), ...this.b.math.keys()])]
      .filter((fact) => this.a.math.get(fact) !== this.b.math.get(fact))
      .map((fact) => ({ field: fact, a: left[fact] ?? null, b: right[fact] ?? null }));
  }
}

/** Fields that no forward pass reads. They differ between any two files. */
const UNREAD =
  /(?:^|\.)(?:_.*|architectures|torch_dtype|dtype|transformers_version|use_cache|initializer_range|max_position_embeddings|attention_dropout|pretraining_tp|quantization_config\b.*|(?:bos|eos|pad)_token_id)$/;

type Mathematics = ReadonlyMap<string, string>;

const isSame = (a: Mathematics, b: Mathematics): boolean =>
  a.size === b.size && [...a].every(([fact, text]) => b.get(fact) === text);

const sidesOf = ([a, b]: readonly [Family, Family], renamed: boolean, reach: number): [Side, Side] => [
  new Side(a, renamed, reach),
  new Side(b, renamed, reach),
];

class Side {
  readonly fields: WrittenFields;
  readonly math: Mathematics;
  private readonly config: JsonObject;

  constructor(
    readonly family: Family,
    renamed: boolean,
    readonly reach: number,
  ) {
    this.fields = writtenFields(family.hfConfig(), renamed);
    this.config = configOf(this.fields);
    this.math = mathematics(family, reach);
  }

  text(path: string): string | undefined {
    const field = this.fields.get(path);
    return field === undefined ? undefined : JSON.stringify(field.value);
  }

  /** Whether the config in the spelling of `fields` still says the same. */
  isFaithful(): boolean {
    const again = this.opened(this.config);
    return again !== null && isSame(mathematics(again, this.reach), this.math);
  }

  having(other: Side, paths: readonly string[]): Family | null {
    const fields = new Map(this.fields);
    for (const path of paths) {
      const field = other.fields.get(path);
      if (field === undefined) fields.delete(path);
      else fields.set(path, field);
    }
    return this.opened(configOf(fields));
  }

  isMovedBy(other: Side, path: string): boolean | null {
    const moved = this.having(other, [path]);
    return moved === null ? null : !isSame(mathematics(moved, this.reach), this.math);
  }

  /** What reading took for a field that is not there. */
  defaultOf(path: string): unknown {
    if (this.opened(this.config) === null) return undefined;
    const beside = path.replace("rope_parameters.", "");
    return defaultTaken(this.config, path) ?? defaultTaken(this.config, beside);
  }

  private opened(config: JsonObject): Family | null {
    try {
      return this.family.reopened(config);
    } catch (error) {
      if (error instanceof InputError) return null;
      throw error;
    }
  }
}
