// Paths of planner_data that torch can nest tensors by, and flatten again to the same names (`dcp_to_torch_save`,
// `_EmptyStateDictLoadPlanner`): it fails at a list of which items are missing, because they were no tensors.
// Source: pytorch/pytorch@v2.13.0:torch/distributed/checkpoint/_traverse.py (set_element, traverse_state_dict)

type Path = readonly (string | number)[];

interface Container {
  readonly indexes: Set<number>;
  readonly names: Set<string>;
}

type Paths = readonly (readonly [key: string, path: Path])[];

/** The path of each key; the key itself, as a flat name, where the path would not do. */
export function loadablePaths(keys: Iterable<string>, paths: ReadonlyMap<string, Path>): Map<string, Path> {
  let list: Paths = [...keys].map((key) => [key, ownPath(key, paths.get(key))]);
  // A path that is given up may leave a gap in a list further out.
  for (let flat = -1; flat !== countFlat(list); ) {
    flat = countFlat(list);
    list = withoutGaps(list);
  }
  return new Map(list);
}

const countFlat = (list: Paths): number => list.filter(([, path]) => path.length === 1).length;

function withoutGaps(list: Paths): Paths {
  const containers = new Map<string, Container>();
  const leaves = new Set(list.map(([, path]) => JSON.stringify(path)));
  for (const [, path] of list) {
    for (const [i, child] of path.entries()) {
      const at = JSON.stringify(path.slice(0, i));
      const { indexes, names } = containers.get(at) ?? { indexes: new Set(), names: new Set() };
      containers.set(at, { indexes, names });
      if (typeof child === "number") indexes.add(child);
      else names.add(child);
    }
  }
  const isWhole = (path: Path, i: number): boolean => {
    const container = containers.get(JSON.stringify(path.slice(0, i)));
    return container !== undefined && isGapless(container) === (typeof path[i] === "number");
  };
  const isInLeaf = (path: Path): boolean => path.some((_, i) => i > 0 && leaves.has(JSON.stringify(path.slice(0, i))));
  const canNest = (path: Path): boolean => path.every((_, i) => isWhole(path, i)) && !isInLeaf(path);
  return list.map(([key, path]) => [key, canNest(path) ? path : [key]]);
}

const ownPath = (key: string, path: Path = [key]): Path =>
  typeof path[0] === "string" && path.join(".") === key ? path : [key];

/** A list with all of its items; a dict has none. */
const isGapless = ({ indexes, names }: Container): boolean =>
  names.size === 0 && [...indexes].every((index) => index < indexes.size);
