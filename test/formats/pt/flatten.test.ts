import { expect, test } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import {
  PickleDict,
  PickleList,
  PickleObject,
  PicklePersistent,
  type PickleValue,
} from "../../../src/formats/pickle/value.ts";
import { flatten } from "../../../src/formats/pt/flatten.ts";

const BUDGET = 10_000_000;

function list(...items: readonly PickleValue[]): PickleList {
  const made = new PickleList();
  for (const item of items) made.items.push(item);
  return made;
}

function dict(entries: Readonly<Record<string, PickleValue>>): PickleDict {
  const made = new PickleDict();
  for (const [key, value] of Object.entries(entries)) made.items.push(key, value);
  return made;
}

const many = (count: number, value: PickleValue = null): PickleList => {
  const made = new PickleList();
  for (let i = 0; i < count; i++) made.items.push(value);
  return made;
};

const tensor = new PickleObject("torch._utils _rebuild_tensor_v2", []);
const found = (value: PickleValue, budget = BUDGET) => flatten(value, budget, { file: "a.pt" });

function codeOf(value: PickleValue, budget = BUDGET): string {
  try {
    found(value, budget);
    return "none";
  } catch (error) {
    if (error instanceof InputError) return error.code;
    throw error;
  }
}

test.each([
  ["5 million times None", many(5_000_000)],
  ["the same within dicts and lists", list(dict({ a: many(2_000_000) }), list(many(2_000_000, "x")))],
])("a list of %s is one entry, and none of its values gets a name", (_, value) => {
  const { others, paths, tensors } = found(dict({ state: value, w: tensor }));
  expect(others).toEqual([{ key: "state", kind: "list" }]);
  expect([...paths.keys()]).toEqual(["state", "w"]);
  expect([...tensors.keys()]).toEqual(["w"]);
});

test("a list with a tensor in its depth is one entry a value", () => {
  const { others, tensors } = found(dict({ a: list(null, list(1, dict({ w: tensor })), many(3)) }));
  expect([...tensors.keys()]).toEqual(["a.1.1.w"]);
  expect(others.map(({ key }) => key)).toEqual(["a.0", "a.1.0", "a.2"]);
});

test("more than 500,000 values beside tensors are refused", () => {
  const mixed = many(500_000);
  mixed.items.push(tensor);
  expect(codeOf(mixed)).toBe("none");
  mixed.items.push(null);
  expect(codeOf(mixed)).toBe("TOO_MANY_VALUES");
});

test("lists that repeat themselves, hold themselves, or hold a storage are refused", () => {
  const repeated = Array.from({ length: 60 }).reduce<PickleList>((inner) => many(10, inner), list(1));
  expect(codeOf(repeated)).toBe("PICKLE_EXPANSION");
  const cycle = list(1);
  cycle.items.push(cycle);
  expect(codeOf(cycle)).toBe("PICKLE_NESTING");
  expect(codeOf(list(1, list(new PicklePersistent("0"))))).toBe("BARE_STORAGE");
});
