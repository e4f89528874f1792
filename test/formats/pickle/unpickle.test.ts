import { expect, test } from "vitest";
import { InputError } from "../../../src/base/errors.ts";
import { opcodeName } from "../../../src/formats/pickle/opcodes.ts";
import { unpickle } from "../../../src/formats/pickle/unpickle.ts";
import {
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleObject,
  type PickleValue,
} from "../../../src/formats/pickle/value.ts";
import { PickleWriter } from "../../../src/formats/pickle/write.ts";

const where = { file: "test.pkl" };
const none = { where, globals: new Map() };
const load = (text: string): PickleValue => unpickle(Buffer.from(text, "latin1"), none).value;

/** Written by pickle.dumps of Python 3.11, protocols 2 to 5. */
const PYTHON: readonly (readonly [string, string, PickleValue])[] = [
  ["-1", "\x80\x02J\xff\xff\xff\xff.", -1],
  ["255", "\x80\x02K\xff.", 255],
  ["65535", "\x80\x02M\xff\xff.", 65535],
  ["2**31 - 1", "\x80\x02J\xff\xff\xff\x7f.", 2 ** 31 - 1],
  ["2**31", "\x80\x02\x8a\x05\0\0\0\x80\0.", 2 ** 31],
  ["2**53 - 1", "\x80\x02\x8a\x07\xff\xff\xff\xff\xff\xff\x1f.", 2 ** 53 - 1],
  ["2**53", "\x80\x02\x8a\x07\0\0\0\0\0\0\x20.", 2n ** 53n],
  ["-2**63", "\x80\x02\x8a\x08\0\0\0\0\0\0\0\x80.", -(2n ** 63n)],
  ["0.1", "\x80\x02G?\xb9\x99\x99\x99\x99\x99\x9a.", 0.1],
  ["True", "\x80\x02\x88.", true],
  ["None", "\x80\x04N.", null],
  ["'é', protocol 2", "\x80\x02X\x02\0\0\0\xc3\xa9q\0.", "é"],
  ["'é', protocol 5", "\x80\x05\x95\x06\0\0\0\0\0\0\0\x8c\x02\xc3\xa9\x94.", "é"],
  ["(1, (2, 3))", "\x80\x04\x95\x0b\0\0\0\0\0\0\0K\x01K\x02K\x03\x86\x94\x86\x94.", [1, [2, 3]]],
];

for (const [name, pickle, value] of PYTHON) test(`${name}`, () => expect(load(pickle)).toEqual(value));

test("containers are bounded by the bytes that make them", () => {
  const code = (text: string): string => {
    try {
      load(text);
      return "read";
    } catch (error) {
      return error instanceof InputError ? error.code : "other";
    }
  };
  for (const each of ["]", "}", "N\x85", "\x8f"]) {
    expect(code(`\x80\x04](${each.repeat(1_000_000)}e.`)).toBe("PICKLE_TOO_MANY");
    expect(code(`\x80\x04](${each.repeat(400_000)}e.`)).toBe("read");
  }
  // What Python writes for [[0, 1], …] of a million: eight bytes for one.
  expect(code(`\x80\x04](${"]\x94(K\0K\x01e".repeat(1_000_000)}e.`)).toBe("read");
});

test("a shared list is one list", () => {
  // x = []; pickle.dumps((x, x), 2)
  const value = load("\x80\x02]q\0h\0\x86q\x01.");
  expect(Array.isArray(value) && value[0] instanceof PickleList && value[0] === value[1]).toBe(true);
});

test("keys named like parts of an object are keys and nothing more", () => {
  const w = new PickleWriter();
  w.dict(["__proto__", "constructor", "toString"], (key) => {
    w.text(key);
    w.int(7);
  });
  const value = unpickle(w.end(), none).value;
  expect(value).toBeInstanceOf(PickleDict);
  expect(value instanceof PickleDict && value.get("__proto__")).toBe(7);
  expect(value instanceof PickleDict && value.get("hasOwnProperty")).toBeUndefined();
  expect(Reflect.get({}, "toString")).toBe(Object.prototype.toString);
});

test("allowed globals are names, and calls of them are records", () => {
  const globals = new Map([
    ["a b", "object"],
    ["a c", "name"],
  ] as const);
  const value = unpickle(Buffer.from("\x80\x02ca\nb\nca\nc\n\x85R}X\x01\0\0\0xK\x05sb.", "latin1"), {
    where,
    globals,
  }).value;
  expect(value).toBeInstanceOf(PickleObject);
  if (!(value instanceof PickleObject)) return;
  expect(value.args).toEqual([new PickleGlobal("a c")]);
  expect(value.field("x")).toBe(5);
  expect(() => unpickle(Buffer.from("\x80\x02ca\nc\n)R.", "latin1"), { where, globals })).toThrow("does not take");
});

test("a global that runs code is refused by name", () => {
  const names = [
    "os\nsystem",
    "posix\nsystem",
    "builtins\neval",
    "__builtin__\nexec",
    "subprocess\nPopen",
    "torch.hub\nload",
  ];
  for (const name of [...names, "os.path\njoin", "importlib.machinery\nx", "numpy.testing._private.utils\nrunstring"]) {
    expect(() => load(`\x80\x02c${name}\n.`)).toThrow(`"${name.replace("\n", ".")}", which runs code`);
  }
  expect(() => load("\x80\x04\x8c\x08builtins\x8c\x0eeval.__class__\x93.")).toThrow("which runs code");
});

test("any other global is a name, and what would be made of it a record of all its parts", () => {
  // pickle.dumps(OrderedDict-like instance with items and state, 2): c(args), [append], {set}, state
  const value = load("\x80\x02cmy.mod\nThing\n(K\x01tR(K\x02K\x03e(X\x01\0\0\0aK\x04u}b.");
  if (!(value instanceof PickleObject)) throw new Error("another kind");
  expect(value.global).toBe("my.mod Thing");
  expect(value.parts).toEqual([1, 2, 3, "a", 4, new PickleDict()]);
  const called = load("\x80\x02cmy.mod\nThing\n)RK\x07\x85R.");
  expect(called instanceof PickleObject && called.parts).toEqual([new PickleObject("my.mod Thing", []), 7]);
  const keywords = load("\x80\x04cmy.mod\nThing\nK\x01\x85}\x92.");
  expect(keywords instanceof PickleObject && keywords.parts).toEqual([1, new PickleDict()]);
});

/** Written by pickle.dumps of Python 3.11, protocol 5. */
test("sets, byte arrays and long integers", () => {
  const set = load("\x80\x05\x8f\x94(K\x01K\x02\x90.");
  expect(set instanceof PickleObject && [set.global, ...set.parts]).toEqual(["builtins set", 1, 2]);
  const frozen = load("\x80\x05(K\x01\x91\x94.");
  expect(frozen instanceof PickleObject && [frozen.global, ...frozen.parts]).toEqual(["builtins frozenset", 1]);
  expect(load("\x80\x05\x96\x02\0\0\0\0\0\0\0zz\x94.")).toEqual(Buffer.from("zz"));
  expect(load("\x80\x02\x8b\x02\0\0\0\0\x01.")).toBe(256);
});

test("of all 256 opcodes, those that no checkpoint needs are refused by name", () => {
  const refused = Array.from({ length: 256 }, (_, code) => {
    try {
      load(String.fromCharCode(code));
      return [];
    } catch (error) {
      return error instanceof Error && error.message.includes("uses opcode") ? [opcodeName(code)] : [];
    }
  }).flat();
  expect(refused).toHaveLength(256 - 46);
  expect(refused).toEqual(
    expect.arrayContaining(["INST", "OBJ", "EXT1", "PERSID", "NEXT_BUFFER", "POP", "GET", "0x00", "0xff"]),
  );
});

test("what the writer writes is read back", () => {
  const w = new PickleWriter();
  const ints = [0, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 53 - 1, -1, -(2 ** 31)];
  // More than the writer gathers in one buffer, and one text that alone is.
  const many = Array.from({ length: 6000 }, (_, i) => `name-${i % 3000}-${"ü".repeat(i % 40)}`);
  const words = [...many, "long ".repeat(20_000), ...many];
  w.tuple(
    () => w.ints(ints),
    () => w.list(words, (word) => w.text(word)),
    () => w.bool(true),
    () => w.none(),
  );
  const value = unpickle(w.end(), none).value;
  if (!Array.isArray(value) || !(value[1] instanceof PickleList)) throw new Error("another shape");
  expect(value[0]).toEqual(ints);
  expect(value[1].items).toEqual(words);
  expect(value.slice(2)).toEqual([true, null]);
});
