// The fuzzer itself: it finds what is planted, the same case comes again from its numbers, and its inputs reach the parsers.
import { afterEach, describe, expect, it } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import { fuzz, judge } from "./fuzz.ts";
import { caseOf } from "./mutate.ts";
import { PARSERS, type Parser } from "./parsers.ts";

const upTo = (cases: number) => ({ seed: 1, from: 0, goesOn: (index: number) => index < cases });

/** A parser with a defect for one kind of input, which none of the good ones is. */
const planted = (defect: () => void): Parser => {
  const good = PARSERS.safetensors!();
  return {
    ...good,
    read(bytes) {
      if (/"shape":\[[^\]]*9007199254740991/.test(bytes.toString("latin1"))) defect();
      good.read(bytes);
    },
  };
};

/** Else it depends on the moment of a collection whether they are seen. */
const held: Buffer[] = [];
afterEach(() => {
  held.length = 0;
});

describe("finds a planted defect, and the case again from its number", () => {
  it.each([
    ["an error that nobody throws on purpose", () => void JSON.parse("{").x, "SyntaxError"],
    [
      "a stack without end",
      function deep(): void {
        deep();
      },
      "RangeError: Maximum call stack",
    ],
    [
      "an exit code of the environment",
      () => {
        throw new (class extends InputError {
          override readonly exitCode = 4 as 3;
        })("X", "x", { help: "" });
      },
      "x",
    ],
    ["buffers that are too large", () => void held.push(Buffer.alloc(450e6)), "bytes of buffers"],
  ])("%s", (_, defect, what) => {
    const parser = planted(defect);
    const { failures } = fuzz(parser, { ...upTo(4000), mostFailures: 1 });
    expect(failures).toHaveLength(1);
    const [{ index, what: told }] = failures as [{ index: number; what: string }];
    expect(told).toContain(what);
    const again = judge(parser, caseOf(parser.good, parser.mutations, [1, index]));
    expect(again.wrong).toContain(what);
  });

  it("a case that takes long", () => {
    const parser: Parser = {
      ...PARSERS.record!(),
      read: () => {
        for (const begin = performance.now(); performance.now() - begin < 1010; );
      },
    };
    expect(judge(parser, Buffer.from("{}")).wrong).toMatch(/^takes \d+ ms$/);
  });
});

it.each(Object.keys(PARSERS))(
  "%s: good input is read, cases are read or refused in many ways, and nothing else",
  (name) => {
    const parser = PARSERS[name]!();
    expect(judge(parser, parser.good[0]!)).toEqual({ code: null });
    const { cases, read, refused, failures } = fuzz(parser, upTo(name === "config" ? 20 : 200));
    expect(failures).toEqual([]);
    expect(read).toBeGreaterThan(0);
    // A journal passes over what is not its own; `inspect` tells of a config as a problem.
    if (name === "journal" || name === "config") expect(read).toBe(cases);
    else expect(refused.size).toBeGreaterThan(1);
  },
);
