// A tensor of the reference model and the same tensor of another model: the evidence for a fault of one tensor.
import type { TensorSource } from "../views/tensor-source.ts";
import { type Along, columnsOf, elementsOf, isTransposed, linesOf, type Sides } from "./evidence/along.ts";
import { rowsElsewhere, type Segment } from "./evidence/elsewhere.ts";
import { type Measured, measure, type NotFinite, notFiniteOf } from "./evidence/measure.ts";
import type { Order } from "./evidence/order.ts";
import { isEqual, type Made, Reference } from "./evidence/reference.ts";
import { type Scales, scalesOf } from "./evidence/scales.ts";
import {
  blocksOf,
  type Cast,
  NARROWINGS,
  type Narrowing,
  narrow,
  narrowed,
  precisionOf,
  taken,
  typesOf,
  type Values,
  valuesOf,
} from "./evidence/values.ts";

/** How words call the two sides: the one of `found`, and the one of `expected`. */
export interface Names {
  readonly one: string;
  readonly other: string;
}

export const SIDES: Names = { one: "the other side", other: "the reference" };

/** What stands around a tensor. */
export interface Around {
  readonly reference: Owners;
  /** All tensors of the other model. */
  readonly counterpart: Owners;
  readonly names: Names;
}

/** The tensors of a model, to be sought among. */
export type Owners = Reference;

const FEW = 4;

const AS_IT_IS: Made = (values) => values;

/** Made when it is first asked for. */
function lazily<T>(make: () => T): () => T {
  let made: { readonly it: T } | undefined;
  return () => {
    made ??= { it: make() };
    return made.it;
  };
}

export class TensorPair implements Sides {
  readonly #rows = lazily(() => linesOf(this));
  readonly #columns = lazily(() => columnsOf(this));
  readonly #elements = lazily(() => elementsOf(this));
  readonly #scales = lazily(() => scalesOf(this, this.precision));
  readonly #measured = lazily(() => measure(this));
  readonly #types = lazily(() => [typesOf(this.expected), typesOf(this.found)] as const);
  readonly #owner = lazily(() => this.around.reference.ownerOf(this.key, this.found, ...this.#made));
  readonly #elsewhere = lazily(() => rowsElsewhere(this, this.around.reference, this.#made[0]));

  /** @param cast what `expected` or `found` went through, so that both have one type */
  constructor(
    readonly key: string,
    readonly expected: Values,
    readonly found: Values,
    private readonly around: Around,
    readonly cast: Cast | null = null,
  ) {}

  get shape(): readonly number[] {
    return this.found.shape;
  }

  get count(): number {
    return this.found.count;
  }

  get names(): Names {
    return this.around.names;
  }

  /** Rows in another order: all that the last axis lies in. Null where that is not what differs. */
  get rows(): Along | null {
    return this.#rows();
  }

  /** What rows are made of, in another order in each row that differs. */
  get columns(): Along | null {
    return this.#columns();
  }

  get orders(): readonly Along[] {
    return [this.rows, this.rows === null ? this.columns : null].filter((along) => along !== null);
  }

  /** Null of a large tensor. */
  get elements(): Order | null {
    return this.#elements();
  }

  get measured(): Measured {
    return this.#measured();
  }

  /** Key of another tensor of the reference model that has the values of this one; undefined where none has. */
  get owner(): string | undefined {
    return this.#owner();
  }

  /** Whether the other model, too, has the owner's values in the owner's place. */
  get isOwnerInPlace(): boolean {
    const { reference, counterpart } = this.around;
    const owner = this.owner!;
    const [right, there] = [reference, counterpart].map(({ source }) =>
      source.tensors.has(owner) ? valuesOf(source, owner, false) : null,
    );
    if (!right || !there) return false;
    return isEqual(this.#made[0](right), there) || isEqual(right, there);
  }

  /** Where the rows of this tensor stand in the reference model, some of them in its sibling tensors. */
  get elsewhere(): readonly Segment[] | null {
    return this.#elsewhere();
  }

  isTransposed(rows: number, columns: number): boolean {
    return isTransposed(this, rows, columns);
  }

  get isEqual(): boolean {
    return isEqual(this.expected, this.found);
  }

  /** Distance of neighbouring values of the coarser type of the two, relative to a value. */
  get precision(): number {
    return Math.max(...this.#types().map(precisionOf));
  }

  /** Whether the values of both need the same type. */
  get isOfOneType(): boolean {
    const [expected, found] = this.#types();
    return precisionOf(expected) === precisionOf(found);
  }

  /** Whether that type is a narrow one. */
  get isCoarse(): boolean {
    return this.precision > 2 ** -20;
  }

  /** Whether more than a few elements differ, or all of a small tensor: one that does is a bit that flipped. */
  get isSeveral(): boolean {
    return this.measured.different >= Math.min(FEW, this.count);
  }

  /** Factors of parts; null where that is not what differs. */
  get scales(): Scales | null {
    return this.#scales();
  }

  /** Elements that are NaN or infinite on one side alone. */
  get notFinite(): NotFinite {
    const { different, of, first } = this.measured;
    const isSeen = first !== null && (!Number.isFinite(first.found) || !Number.isFinite(first.expected));
    // In a tensor that differs all over, a single one is not what differs.
    if (!isSeen && !this.measured.all && different > 0.01 * of) return { count: 0, first: null };
    return notFiniteOf(this);
  }

  /** Whether `isSo` holds for each value expected and the one found in its place. */
  every(isSo: (expected: number, found: number) => boolean): boolean {
    for (const [begin, size] of blocksOf(this.count)) {
      const [x, y] = [taken(this.expected, begin, size), taken(this.found, begin, size)];
      for (let i = 0; i < size; i++) if (!isSo(x[i]!, y[i]!)) return false;
    }
    return true;
  }

  /** Whether some element differs, and `isSo` holds for each that does. */
  differs(isSo: (expected: number, found: number) => boolean): boolean {
    let some = false;
    for (const [begin, size] of blocksOf(this.count)) {
      const [x, y] = [taken(this.expected, begin, size), taken(this.found, begin, size)];
      for (let i = 0; i < size; i++) {
        if (Object.is(x[i], y[i])) continue;
        if (!isSo(x[i]!, y[i]!)) return false;
        some = true;
      }
    }
    return some;
  }

  /** Whether each element of one side that differs is what is left of the other's. */
  isNarrowed(narrowing: Narrowing, side: Cast["side"]): boolean {
    let some = false;
    for (const [begin, size] of blocksOf(this.count)) {
      const [x, y] = [taken(this.expected, begin, size), taken(this.found, begin, size)];
      const [narrower, wider] = side === "one" ? [y, x] : [x, y];
      const made = narrow(wider, narrowing);
      for (let i = 0; i < size; i++) {
        if (Object.is(x[i], y[i])) continue;
        if (narrower[i] !== made[i]) return false;
        some = true;
      }
    }
    return some;
  }

  /** The same two with one of them taken to the narrower type of the other, in each way that may have been gone. */
  *narrowings(): Generator<TensorPair, void> {
    const [expected, found] = this.#types();
    for (const narrowing of NARROWINGS) {
      const { type } = narrowing;
      if (expected.has(type) === found.has(type)) continue;
      yield found.has(type)
        ? new TensorPair(this.key, narrowed(this.expected, narrowing), this.found, this.around, {
            ...narrowing,
            side: "one",
          })
        : new TensorPair(this.key, this.expected, narrowed(this.found, narrowing), this.around, {
            ...narrowing,
            side: "other",
          });
    }
  }

  /** The other way round: the same tensor of the reference model, beside all of the other model. */
  get reversed(): TensorPair {
    const { reference, counterpart, names } = this.around;
    const around = { reference: counterpart, counterpart: reference, names: { one: names.other, other: names.one } };
    return new TensorPair(this.key, this.found, this.expected, around);
  }

  /** What is to be made of other tensors of the reference before they are compared, and a name for it. */
  get #made(): readonly [Made, string] {
    const { cast } = this;
    if (cast === null || cast.side === "other") return [AS_IT_IS, ""];
    return [(values) => narrowed(values, cast), `${cast.how} ${cast.type}`];
  }
}

/** Both models, as a pair sees them. */
export interface Models {
  readonly right: Owners;
  readonly other: Owners;
  readonly names?: Names;
}

export const modelsOf = (right: TensorSource, other: TensorSource, names: Names = SIDES): Models => ({
  right: new Reference(right),
  other: new Reference(other),
  names,
});

/** Null where the values cannot be compared one by one: other shapes, or no floating point. */
export function pairOf({ right, other, names = SIDES }: Models, key: string): TensorPair | null {
  const [expected, found] = [valuesOf(right.source, key), valuesOf(other.source, key)];
  if (expected === null || found === null || `${expected.shape}` !== `${found.shape}`) return null;
  return new TensorPair(key, expected, found, { reference: right, counterpart: other, names });
}
