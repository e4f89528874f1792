// The other tensors of the reference model: whose values a tensor may hold instead of its own.
import type { TensorSource } from "../../views/tensor-source.ts";
import { sampleHash } from "./hashes.ts";
import { BLOCK, blocksOf, taken, type Values, valuesOf } from "./values.ts";

/** What values are made before they are compared: nothing, or what a cast leaves of them. */
export type Made = (values: Values) => Values;

/** More siblings than these are not searched for rows. */
const MOST_SIBLINGS = 24;

export class Reference {
  private readonly held = new Map<string, Values | null>();
  private readonly byShape = new Map<string, string[]>();
  /** Fingerprints of all tensors of a shape, by the name of what was made of them. */
  private readonly prints = new Map<string, ReadonlyMap<number, readonly string[]>>();

  constructor(readonly source: TensorSource) {
    for (const { key, shape } of source.tensors.values()) {
      const of = this.byShape.get(`${shape}`);
      if (of === undefined) this.byShape.set(`${shape}`, [key]);
      else of.push(key);
    }
  }

  values(key: string): Values | null {
    let values = this.held.get(key);
    if (values === undefined) {
      values = valuesOf(this.source, key);
      this.held.set(key, values);
    }
    return values;
  }

  /** Forgets what it holds of a tensor: only fingerprints of it stay. */
  release(key: string): void {
    this.held.delete(key);
  }

  /** Another tensor that has these values; the one whose key is most like `key`, if there are several. */
  ownerOf(key: string, found: Values, made: Made, name: string): string | undefined {
    if (isConstant(found)) return undefined;
    const candidates = (this.printsOf(found.shape, made, name).get(sampleHash(found)) ?? [])
      .filter((each) => each !== key)
      .toSorted((a, b) => unlike(a, key) - unlike(b, key));
    return candidates.find((each) => isEqual(made(valuesOf(this.source, each)!), found));
  }

  private printsOf(shape: readonly number[], made: Made, name: string): ReadonlyMap<number, readonly string[]> {
    const place = `${name} ${shape}`;
    const known = this.prints.get(place);
    if (known !== undefined) return known;
    const prints = new Map<number, string[]>();
    for (const key of this.byShape.get(`${shape}`) ?? []) {
      const values = streamed(this.source, key);
      if (values === null) continue;
      const print = sampleHash(made(values));
      const of = prints.get(print);
      if (of === undefined) prints.set(print, [key]);
      else of.push(key);
    }
    this.prints.set(place, prints);
    return prints;
  }

  /** Tensors beside this one whose rows are as wide: of the same module, or of the module that holds it. */
  siblingsOf(key: string): readonly string[] {
    const width = this.source.tensors.get(key)!.shape.at(-1);
    const module = key.split(".").slice(0, -2).join(".");
    const siblings = [...this.source.tensors.values()].filter(
      (each) =>
        each.key !== key && each.key.startsWith(`${module}.`) && each.shape.length > 1 && each.shape.at(-1) === width,
    );
    return siblings.length > MOST_SIBLINGS ? [] : siblings.map((each) => each.key);
  }
}

/** Not held: a fingerprint reads a few of its values. */
const streamed = (source: TensorSource, key: string): Values | null => valuesOf(source, key, false);

/** How many words of two keys differ. */
function unlike(a: string, b: string): number {
  const [x, y] = [a.split("."), b.split(".")];
  return x.filter((word, i) => word !== y[i]).length + Math.abs(x.length - y.length);
}

export function isEqual(a: Values, b: Values): boolean {
  if (`${a.shape}` !== `${b.shape}`) return false;
  for (const [begin, size] of blocksOf(a.count)) {
    const [x, y] = [taken(a, begin, size), taken(b, begin, size)];
    if (!Buffer.from(x.buffer).equals(Buffer.from(y.buffer))) return false;
  }
  return true;
}

/** Of all ones, or all zeros, nobody is the owner. */
function isConstant(values: Values): boolean {
  const first = taken(values, 0, Math.min(BLOCK, values.count));
  return values.count > 1 && first.every((value) => value === first[0]);
}
