// What dims mean, said once more and naively: every element of a tensor gets the list of its coordinates, in row-major
// order; a conversion puts each element where the other side has the same coordinates. Shares nothing with src/table.
import type { Bytes } from "../helpers/moves.ts";

export type Sizes = Readonly<Record<string, number | readonly number[]>>;
/** Key patterns with their dims. */
export type SideSpec = Readonly<Record<string, string>>;

type Coordinates = readonly string[];

export const sizeOf = (sizes: Sizes, axis: string): number => {
  const size = axis === "two" ? 2 : sizes[axis];
  if (size === undefined) throw new Error(`no size for ${axis}`);
  return typeof size === "number" ? size : size.length;
};

/** One entry a dimension: the coordinates along it. */
function dimensions(text: string, sizes: Sizes): Coordinates[][] {
  let rest = text.replaceAll(/([()|:])/g, " $1 ").trim();
  const next = () => {
    const [token = ""] = rest.split(/\s+/, 1);
    rest = rest.slice(token.length).trim();
    return token;
  };
  const peek = (n: number) => rest.split(/\s+/)[n];
  const all = (): Coordinates[][] => {
    const list: Coordinates[][] = [];
    while (rest !== "" && !rest.startsWith(")") && !rest.startsWith("|")) list.push(one());
    return list;
  };
  const one = (): Coordinates[] => {
    const token = next();
    if (token !== "(") return Array.from({ length: sizeOf(sizes, token) }, (_, i) => [`${token}=${i}`]);
    const entries: Coordinates[] = [];
    let last = "";
    do {
      const label = peek(1) === ":" || peek(1) === "|" || last === "|" ? next() : null;
      if (peek(0) === ":") next();
      for (const inner of cartesian(all())) entries.push(label === null ? inner : [`#${label}`, ...inner]);
      last = next();
    } while (last === "|");
    return entries;
  };
  return text === "." ? [] : all();
}

const cartesian = (lists: readonly Coordinates[][]): Coordinates[] =>
  lists.reduce<Coordinates[]>((done, list) => done.flatMap((a) => list.map((b) => [...a, ...b])), [[]]);

/** Every tensor of a side: its shape and the coordinates of its elements. */
function layOut(side: SideSpec, sizes: Sizes): Map<string, { shape: number[]; elements: string[] }> {
  const tensors = new Map<string, { shape: number[]; elements: string[] }>();
  for (const [pattern, dims] of Object.entries(side)) {
    const label = /^(\w+):/.exec(dims);
    const along = dimensions(label === null ? dims : dims.slice(label[0].length).trim(), sizes);
    const elements = cartesian(along).map((c) => (label === null ? c : [`#${label[1]}`, ...c]));
    const axes = Array.from(pattern.matchAll(/\{(\w+)[^}]*\}/g), (match) => match[1]!);
    const at = cartesian(axes.map((axis) => Array.from({ length: sizeOf(sizes, axis) }, (_, i) => [`${axis}=${i}`])));
    for (const position of at) {
      const shape = along.map((list) => list.length);
      tensors.set(keyAt(pattern, position, sizes), {
        shape,
        elements: elements.map((c) => [...c, ...position].sort().join(" ")),
      });
    }
  }
  return tensors;
}

function keyAt(pattern: string, position: Coordinates, sizes: Sizes): string {
  return pattern.replaceAll(/\{(\w+)(?:\+(\w+))?\}/g, (_, axis: string, by?: string) => {
    const at = Number(position.find((c) => c.startsWith(`${axis}=`))!.split("=")[1]);
    const list = sizes[axis];
    const shift = by === undefined ? 0 : /^\d+$/.test(by) ? Number(by) : sizeOf(sizes, by);
    return String((typeof list === "object" ? list[at]! : at) + shift);
  });
}

const encode = (shape: readonly number[], values: readonly number[]): Bytes => ({
  shape,
  data: new Uint8Array(Uint32Array.from(values).buffer),
});

/** Tensors of one side, every element another number, and the tensors of the other side that hold the same. */
export function referencePair(from: SideSpec, to: SideSpec, sizes: Sizes) {
  const numberOf = new Map<string, number>();
  const source = new Map<string, Bytes>();
  for (const [key, { shape, elements }] of layOut(from, sizes)) {
    for (const element of elements) {
      if (numberOf.has(element)) throw new Error(`${key}: ${element} twice`);
      numberOf.set(element, numberOf.size + 1);
    }
    source.set(
      key,
      encode(
        shape,
        elements.map((element) => numberOf.get(element)!),
      ),
    );
  }
  const target = new Map<string, Bytes>();
  let used = 0;
  for (const [key, { shape, elements }] of layOut(to, sizes)) {
    const values = elements.map((element) => numberOf.get(element) ?? Number.NaN);
    if (values.some(Number.isNaN)) throw new Error(`${key}: an element comes from nowhere`);
    used += values.length;
    target.set(key, encode(shape, values));
  }
  if (used !== numberOf.size) throw new Error("elements are lost");
  return { source, target };
}
