// The tensors of a checkpoint against those of a seal, by their hashes.
import { isFloat } from "../../base/floats.ts";
import type { TensorInfo } from "../../formats/checkpoint.ts";
import type { Difference } from "../../views/difference.ts";
import { hashTensor, type Steps } from "../../views/identity/hash.ts";
import { rootOf, type TensorIdentity } from "../../views/identity/merkle.ts";
import type { TensorSource } from "../../views/tensor-source.ts";
import type { Seal, SealedTensor } from "./seal-data.ts";

export interface Compared {
  readonly differences: readonly Difference[];
  readonly notes: readonly string[];
  /** Tensors that both have. */
  readonly tensors: number;
  /** As the seal counts tensors: without aliases that it does not have, with those that it has. */
  readonly root: string;
  /** Of the checkpoint by itself, which another seal or a record would name. */
  readonly ownRoot: string;
}

/** What is known of a checkpoint by itself. */
export interface Own {
  /** Those of its config. */
  readonly ties: Readonly<Record<string, string>>;
  /** What is wrong with it. */
  readonly faults: readonly Difference[];
  /** Its tensors as they are: those at fault count for its root, too. */
  readonly stored: TensorSource;
}

export function* compareTensors(source: TensorSource, seal: Seal, { ties, faults, stored }: Own): Steps<Compared> {
  const sealed = new Map(seal.tensors.map((tensor) => [tensor.name, tensor]));
  const own = new Map<string, TensorIdentity>();
  const counted = new Map<string, TensorIdentity>();
  const differences: Difference[] = [...faults];
  const notes: string[] = [];
  for (const info of source.tensors.values()) {
    const expected = sealed.get(info.key);
    const hashed = yield* hashTensor(source, info, casts(info, expected));
    own.set(info.key, hashed[0]);
    const { identity, found } = compareTensor(hashed, expected, notes);
    counted.set(info.key, identity);
    differences.push(...found);
  }
  const known = new Set(faults.map(({ key }) => key));
  for (const expected of seal.tensors) {
    const { name } = expected;
    if (own.has(name)) continue;
    const of = own.get(ties[name] ?? "");
    if (of === undefined) {
      if (!known.has(name)) differences.push({ key: name, kind: "missing", detail: `${words(expected)} in the seal` });
    } else if (isSame(of, expected)) {
      counted.set(name, { ...of, name });
      notes.push(`"${name}" of the seal is "${of.name}" here, whose config ties them: they are equal`);
    } else {
      const detail = `it is "${of.name}" here, whose config ties them, and other in the seal`;
      differences.push({ key: name, kind: "tie", detail });
    }
  }
  for (const [name, identity] of own) {
    if (sealed.has(name)) continue;
    const of = sealed.get(seal.ties[name] ?? "");
    if (of === undefined) {
      differences.push({ key: name, kind: "extra", detail: `${words(identity)} here, nothing in the seal` });
    } else if (isSame(identity, of)) {
      counted.delete(name);
      notes.push(`"${name}" repeats "${of.name}", as the seal's config ties them: they are equal`);
    } else {
      differences.push({
        key: name,
        kind: "tie",
        detail: `other than "${of.name}", which the seal's config ties it to`,
      });
    }
  }
  for (const { key } of faults) {
    const info = stored.tensors.get(key);
    if (info !== undefined && !counted.has(key)) counted.set(key, (yield* hashTensor(stored, info))[0]);
  }
  const tensors = [...own.keys()].filter((name) => sealed.has(name)).length;
  return { differences, notes, tensors, root: rootOf(counted.values()), ownRoot: rootOf(own.values()) };
}

/** The types to hash it in beside its own: that of the seal, where both are floating-point. */
function casts({ dtype }: TensorInfo, expected: SealedTensor | undefined): TensorIdentity["dtype"][] {
  if (expected === undefined || expected.dtype === dtype) return [];
  return isFloat(dtype) && isFloat(expected.dtype) ? [expected.dtype] : [];
}

function compareTensor(
  [own, cast]: readonly [TensorIdentity, ...TensorIdentity[]],
  expected: SealedTensor | undefined,
  notes: string[],
): { readonly identity: TensorIdentity; readonly found: readonly Difference[] } {
  const { name: key } = own;
  const found = (...all: readonly Omit<Difference, "key">[]) => ({
    identity: own,
    found: all.map((each) => ({ key, ...each })),
  });
  if (expected === undefined) return found();
  const [here, there] = [words(own), words(expected)];
  if (`${own.shape}` !== `${expected.shape}`)
    return found({ kind: "shape", detail: `${here} here, ${there} in the seal` });
  if (own.dtype === expected.dtype) {
    if (own.sha256 === expected.sha256) return found();
    return found({ kind: "values", detail: `SHA-256 ${short(own)} here, ${short(expected)} in the seal` });
  }
  const { exact } = expected;
  if (cast !== undefined && exact?.dtype === own.dtype && exact.sha256 === own.sha256) {
    notes.push(`"${key}" has all digits of the values that the codes of the seal's model stand for`);
    return { identity: cast, found: [] };
  }
  const types = `${own.dtype} here, ${expected.dtype} in the seal`;
  if (cast === undefined) return found({ kind: "dtype", detail: types });
  if (cast.sha256 === expected.sha256) {
    return found({ kind: "dtype", detail: `${types}: cast to ${expected.dtype} it is that of the seal, bit for bit` });
  }
  return isWider(own, expected)
    ? found(
        { kind: "dtype", detail: types },
        { kind: "values", detail: `cast to ${expected.dtype} it has other values` },
      )
    : found({ kind: "dtype", detail: `${types}: whether it is the rounding cannot be told from hashes` });
}

const WIDTHS: Readonly<Partial<Record<TensorIdentity["dtype"], number>>> = { F64: 3, F32: 2, F16: 1, BF16: 1 };
/** Whether the cast from a to b rounds what a holds, so that b is known if a is. */
const isWider = (a: TensorIdentity, b: TensorIdentity): boolean => (WIDTHS[a.dtype] ?? 0) > (WIDTHS[b.dtype] ?? 0);

const isSame = (a: TensorIdentity, b: TensorIdentity): boolean =>
  a.dtype === b.dtype && `${a.shape}` === `${b.shape}` && a.sha256 === b.sha256;

const words = ({ dtype, shape }: TensorIdentity): string => `${dtype} [${shape.join(", ")}]`;
const short = ({ sha256 }: TensorIdentity): string => `${sha256.slice(0, 12)}…`;
