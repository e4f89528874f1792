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

test("lists that repeat themselves or hold themselves are refused", () => {
  const repeated = Array.from({ length: 60 }).reduce<PickleList>((inner) => many(10, inner), list(1));
  expect(codeOf(repeated)).toBe("PICKLE_EXPANSION");
  const cycle = list(1);
  cycle.items.push(cycle);
  expect(codeOf(cycle)).toBe("PICKLE_NESTING");
});

test("a storage without a tensor is an entry that says so", () => {
  const { others } = found(dict({ a: list(1, list(new PicklePersistent("0"))), w: tensor }));
  expect(others).toEqual([
    { key: "a.0", kind: "number" },
    { key: "a.1.0", kind: "storage", tensor: "a storage without a tensor" },
  ]);
});

test("keys are what Python's str makes of them", () => {
  const made = new PickleDict();
  const nested = Array.from({ length: 100_000 }).reduce<PickleValue>((inner) => [inner], 0);
  made.items.push(0, tensor, [1, "it's", [null, true]], tensor, -1n, tensor, [2], tensor, [], tensor, nested, tensor);
  expect([...found(made).tensors.keys()]).toEqual([
    "0",
    `(1, "it's", (None, True))`,
    "-1",
    "(2,)",
    "()",
    "((((<tuple>,),),),)",
  ]);
  expect(found(made).paths.get("0")).toEqual(["0"]);
});

const opaque = (state: PickleValue): PickleObject => {
  const made = new PickleObject("__main__ Thing", []);
  made.state = state;
  return made;
};

test("an object is an entry; one that holds a tensor, however deep, must not be left out", () => {
  const self = opaque(null);
  self.state = dict({ self, list: list(self) });
  const hiding = opaque(dict({ a: list(1, opaque([tensor])), self }));
  const { others } = found(dict({ self, many: list(self, self), hiding, mixed: list(1, hiding), w: tensor }));
  expect(others.map(({ key, kind, fault }) => [key, kind, fault?.code])).toEqual([
    ["self", "__main__.Thing", undefined],
    ["many", "list", undefined],
    ["hiding", "__main__.Thing", "OBJECT_HOLDS_TENSORS"],
    ["mixed.0", "number", undefined],
    ["mixed.1", "__main__.Thing", "OBJECT_HOLDS_TENSORS"],
  ]);
});

test("a tensor in the attributes of a tensor or of a dict is not lost silently", () => {
  const plain = new PickleObject("torch._utils _rebuild_tensor_v2", []);
  plain.state = dict({ tag: "x" });
  const scaled = new PickleObject("torch._utils _rebuild_tensor_v2", []);
  scaled.state = dict({ scale: tensor });
  const inner = dict({ w: tensor });
  inner.attributes = dict({ _metadata: dict({ version: 1 }) });
  const other = dict({ w: tensor });
  other.attributes = dict({ ema: tensor });
  const { tensors, others } = found(dict({ plain, scaled, inner, other }));
  expect([...tensors.keys()]).toEqual(["plain", "scaled", "inner.w", "other.w"]);
  expect(others.map(({ key, fault }) => [key, fault?.code])).toEqual([
    ["scaled.attributes", "OBJECT_HOLDS_TENSORS"],
    ["other.attributes", "OBJECT_HOLDS_TENSORS"],
  ]);
});
