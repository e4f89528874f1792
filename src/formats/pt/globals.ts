// What a trainer's state holds beside tensors and is plain data all the same.
import type { GlobalRule } from "../pickle/machine.ts";
import { isTuple, PickleDict, PickleList } from "../pickle/value.ts";
import { TENSOR_GLOBALS } from "../torch/rebuild.ts";

/** _codecs.encode(text, "latin1"): bytes, as pickle protocol 2 spells them. */
const latin1Bytes: GlobalRule = ([text, encoding]) =>
  typeof text === "string" && encoding === "latin1" ? Buffer.from(text, "latin1") : undefined;

/** defaultdict(factory), whose items follow. */
const defaultDict: GlobalRule = () => new PickleDict();

/** deque(), deque(items) or deque(items, maxlen). */
const deque: GlobalRule = ([items]) => {
  const list = new PickleList();
  const given = items instanceof PickleList ? items.items : isTuple(items) ? items : [];
  for (const item of given) list.items.push(item);
  return list;
};

/** Counter({…}) */
const counter: GlobalRule = ([counts]) => (counts instanceof PickleDict ? counts : new PickleDict());

export const OBJECT_GLOBALS: ReadonlyMap<string, GlobalRule> = new Map<string, GlobalRule>([
  ...TENSOR_GLOBALS,
  ["_codecs encode", latin1Bytes],
  ["collections defaultdict", defaultDict],
  ["collections deque", deque],
  ["collections Counter", counter],
]);
