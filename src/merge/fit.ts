// Where the changes of an adapter belong in its base: names as the model has them that was trained, which may be the run-time
// ones of transformers 5 where the files have others, become the canonical ones of Hugging Face.
import { InputError } from "../base/errors.ts";
import { nearestKey } from "../base/near.ts";
import type { Checkpoint, TensorInfo } from "../formats/checkpoint.ts";
import type { Model } from "../model/model.ts";
import { asHf, type HfView } from "../views/as-hf.ts";
import { renamedSource, type TensorSource, tensorInfo } from "../views/tensor-source.ts";
import type { FittedProduct } from "./deltas.ts";
import type { Form, Product } from "./products.ts";

export interface Base {
  readonly model: Model;
  readonly view: HfView;
  /** Canonical key of an alias → the tensor that it repeats. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** Tensors by canonical keys, and the name of the adapter's that each is made of. */
export interface Placed {
  readonly source: TensorSource;
  readonly origins: ReadonlyMap<string, string>;
}

export function baseOf(model: Model, view: HfView): Base {
  const aliases = model.table
    .tensors("hf")
    .flatMap(({ key, need, of }) => (need === "alias" && of !== undefined ? [[key, of] as const] : []));
  return { model, view, aliases: new Map(aliases) };
}

/** Names of the base for those of an adapter, which may lack or have a part in front: `model.` of a class with a head. */
export function namesIn({ view, aliases, model }: Base, adapter: Checkpoint, wanted: readonly string[]) {
  const known = new Set([
    ...view.source.tensors.keys(),
    ...aliases.keys(),
    ...model.table.tensors("hf").map(({ key }) => key),
  ]);
  const direct = wanted.filter((name) => known.has(name));
  const others = wanted.filter((name) => !known.has(name));
  const byTable = others.length === 0 ? new Set<string>() : knownToTable(model, others);
  const names = new Map<string, string>([...direct, ...byTable].map((name) => [name, name]));
  const unknown: string[] = [];
  for (const name of others) {
    if (byTable.has(name)) continue;
    const near = [...known].filter((key) => key.endsWith(`.${name}`) || name.endsWith(`.${key}`));
    if (near.length === 1) names.set(name, near[0]!);
    else unknown.push(name);
  }
  if (unknown.length > 0) throw unmatched(adapter, unknown, known);
  return names;
}

function knownToTable(model: Model, names: readonly string[]): Set<string> {
  const infos = names.map((key): [string, TensorInfo] => [key, { key, dtype: "F32", shape: [], byteLength: 0 }]);
  const faults = model.table.check("fromHf", new Map(infos), { tolerate: true, mixedDtypes: true });
  const unknown = new Set(faults.filter(({ code }) => code === "UNKNOWN_TENSOR").map(({ key }) => key));
  return new Set(names.filter((name) => !unknown.has(name)));
}

/** Tensors by names of `hf`, in whatever spelling and order, as canonical ones. */
export function placed(base: Base, source: TensorSource, adapter: Checkpoint): Placed {
  const own = [...source.tensors.values()];
  const isCanonical = ({ key, shape }: TensorInfo) => `${base.view.source.tensors.get(key)?.shape}` === `${shape}`;
  const direct = own.filter(isCanonical).map(({ key }) => [key, key] as const);
  const rest = own.filter((info) => !isCanonical(info)).map(({ key }) => [key, key] as const);
  const plain = renamedSource(source, new Map(direct));
  if (rest.length === 0) return { source: plain, origins: new Map(direct) };
  const { family, table } = base.model;
  const turned = asHf(
    { family, layout: family.hf, table, source: renamedSource(source, new Map(rest)) },
    { tolerate: true, mixedDtypes: true },
  );
  const made = [...turned.source.tensors.values()].filter(isCanonical);
  const origins = new Map(made.map(({ key }) => [key, turned.origins.get(key)?.[0] ?? key]));
  const reached = new Set(made.flatMap(({ key }) => turned.origins.get(key) ?? []));
  const lost = rest.find(([key]) => !reached.has(key));
  if (lost !== undefined) throw misshapen(base, adapter, source.tensors.get(lost[0])!);
  return {
    source: {
      tensors: new Map([...plain.tensors, ...made.map((info) => [info.key, info] as const)]),
      read: (key, begin, target) => (plain.tensors.has(key) ? plain : turned.source).read(key, begin, target),
    },
    origins: new Map([...direct, ...origins]),
  };
}

/** @throws InputError ADAPTER_MISFIT where the parameter has another shape, ADAPTER_AMBIGUOUS where two ways fit */
export function fitted(base: Base, adapter: Checkpoint, products: readonly Product[]): readonly FittedProduct[] {
  const fits = formsThatFit(base, products);
  const settled = new Map<string, Form["order"]>();
  for (const [{ pair }, [first, second]] of fits)
    if (first !== undefined && second === undefined && first.product.count > 1) settled.set(pair.module, first.order);
  return [...fits].map(([product, forms]) => {
    const own = settled.get(product.pair.module);
    const [form, other] = own === undefined || forms.length < 2 ? forms : forms.filter(({ order }) => order === own);
    if (form === undefined)
      throw misshapen(base, adapter, { ...product.pair.b, shape: product.forms[0]!.shape }, product.target);
    // A matrix of its own is as its config says; a stack may have been taken either way.
    if (other !== undefined && form.product.count > 1) throw undecided(adapter, product);
    return { ...product, form };
  });
}

/** By the shapes of the base, or by those that its table has for names of another order: asked once for all. */
function formsThatFit({ view, aliases, model }: Base, products: readonly Product[]): Map<Product, readonly Form[]> {
  const shapeOf = (target: string) => view.source.tensors.get(aliases.get(target) ?? target)?.shape;
  const fits = new Map<Product, readonly Form[]>(
    products.map((each) => [each, each.forms.filter(({ shape }) => `${shape}` === `${shapeOf(each.target)}`)]),
  );
  const others = products.filter((each) => fits.get(each)?.length === 0);
  if (others.length === 0) return fits;
  for (let i = 0; i < Math.max(...others.map(({ forms }) => forms.length)); i += 1) {
    const tried = others.flatMap((product) => {
      const form = product.forms[i];
      return form === undefined ? [] : [{ product, form }];
    });
    const infos = tried.map(
      ({ product: { target }, form }) => [target, tensorInfo(target, "F32", form.shape)] as const,
    );
    const faults = model.table.check("fromHf", new Map(infos), { tolerate: true, mixedDtypes: true });
    const atFault = new Set(faults.map(({ key }) => key));
    for (const { product, form } of tried)
      if (!atFault.has(product.target)) fits.set(product, [...fits.get(product)!, form]);
  }
  return fits;
}

/** Those that change an alias go to the tensor that it repeats, apart from the others: both may change it. */
export function byAlias<T extends { readonly target: string }>(
  { aliases }: Base,
  changes: readonly T[],
): readonly (readonly T[])[] {
  const own = changes.filter(({ target }) => !aliases.has(target));
  const moved = changes.flatMap((change) => {
    const of = aliases.get(change.target);
    return of === undefined ? [] : [{ ...change, target: of }];
  });
  return [own, moved].filter((each) => each.length > 0);
}

const some = (names: readonly string[]): string =>
  names.length === 1 ? `"${names[0]}"` : `"${names[0]}" and ${names.length - 1} more`;

function unmatched(adapter: Checkpoint, names: readonly string[], known: Iterable<string>): InputError {
  const [first = ""] = names;
  const near = nearestKey(first, known);
  return new InputError("ADAPTER_UNMATCHED", `${adapter.path}: ${some(names)}: the base has no such tensor`, {
    tensor: first,
    file: adapter.path,
    expected: near === undefined ? "a tensor of the base, by Hugging Face's names" : `such as "${near}"`,
    found: first,
    help: "give the base that the adapter was trained on: its adapter_config.json has base_model_name_or_path",
  });
}

function misshapen({ view }: Base, adapter: Checkpoint, { key, shape }: TensorInfo, target = key): InputError {
  const there = view.source.tensors.get(target)?.shape;
  if (there === undefined) return unmatched(adapter, [target], view.source.tensors.keys());
  const isLonger = there.length === shape.length && there.slice(1).join() === shape.slice(1).join();
  return new InputError("ADAPTER_MISFIT", `${adapter.path}: "${key}" does not fit "${target}" of the base`, {
    tensor: key,
    file: adapter.path,
    expected: `[${there.join(", ")}]`,
    found: `[${shape.join(", ")}]`,
    help: isLonger
      ? "its vocabulary was resized: resize the base's embedding likewise (model.resize_token_embeddings) and save it, then merge into that"
      : "give the base that the adapter was trained on: its adapter_config.json has base_model_name_or_path",
  });
}

const undecided = (adapter: Checkpoint, { target, pair }: Product): InputError =>
  new InputError("ADAPTER_AMBIGUOUS", `${adapter.path}: "${target}" is square: its factors fit in two ways`, {
    tensor: pair.a.key,
    file: adapter.path,
    expected: "another product of the same experts that fits in one way",
    found: `A [${pair.a.shape.join(", ")}], B [${pair.b.shape.join(", ")}]`,
    help: "merge it with peft, of the version that trained it, and convert what comes of it",
  });
