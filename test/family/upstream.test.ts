import { expect, test } from "vitest";
import { isSince, parseUpstream, upstreamOf } from "../../src/family/upstream.ts";

const inTransformers = { lastBefore: "5.23", day: "2026-11-21" };
const inTorchtitan = { lastBefore: "0.3.0", day: "2026-08-21" };

test.each([
  ["5.22.1", false],
  ["5.23", false],
  ["5.23.4", false],
  ["5.24", true],
  ["5.24.0", true],
  ["v5.24.0", true],
  ["5.24.0.dev0", true],
  ["6.0", true],
  ["4.57.1", false],
  ["2026-11-20", false],
  ["2026-11-21", true],
  ["main", true],
])("transformers %s has a change that came after 5.23: %s", (version, has) => {
  expect(isSince(version, inTransformers)).toBe(has);
});

test.each([
  ["0.2.2", false],
  ["0.3", false],
  ["0.3.0", false],
  ["0.3.1", true],
  ["2026-08-20", false],
  ["2026-08-21", true],
  ["main", true],
])("torchtitan %s has a change of its main branch after 0.3.0: %s", (version, has) => {
  expect(isSince(version, inTorchtitan)).toBe(has);
});

test("the config says which transformers saved the model; else the newest one that was checked counts", () => {
  expect(upstreamOf({ transformers_version: "5.23.0" })).toEqual({ transformers: "5.23.0", torchtitan: "0.3.0" });
  expect(upstreamOf({}).transformers).toBe("5.24.0");
  expect(upstreamOf({ transformers_version: "mine" }).transformers).toBe("5.24.0");
});

test("--upstream names versions of known projects, at once or one by one", () => {
  const both = { transformers: "5.24", torchtitan: "main" };
  expect(parseUpstream(["transformers=5.24,torchtitan=main"])).toEqual(both);
  expect(parseUpstream(["transformers=5.24", "torchtitan=main"])).toEqual(both);
  expect(parseUpstream([])).toEqual({});
});

test.each(["vllm=1", "transformers", "transformers=new", "transformers=5.24=6", "5.24", ""])(
  'refuses --upstream "%s"',
  (text) => {
    expect(() => parseUpstream([text])).toThrow(expect.objectContaining({ code: "UPSTREAM_USAGE" }));
  },
);
