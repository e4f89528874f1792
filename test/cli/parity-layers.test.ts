// `--save-taps` of one side, and `--by layers` of the other.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const native = join(FIXTURES, "demo/native");
const hf = join(FIXTURES, "demo/hf");

it("saves hidden states of one side, and compares the other with them layer by layer", async () => {
  const golden = join(scratch(), "golden.safetensors");
  const saved = await run("parity", hf, "--save-taps", golden, "--backend", "cpu", "--json");
  expect(saved.code).toBe(0);
  expect(saved.json).toMatchObject({ verdict: "pass", file: golden, tokens: 512, checks: [{ status: "not checked" }] });
  const { code, stdout } = await run(
    ...["parity", native, "--config", hf, "--golden", golden, "--by", "layers", "--backend", "cpu"],
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(/the golden's logits, each layer from recorded hidden states/);
  expect(stdout).toMatch(/hidden states behind layers 0, 1/);
});

it("says what is missing, and writes nothing", async () => {
  const golden = join(scratch(), "golden.safetensors");
  const two = await run("parity", hf, hf, "--save-taps", golden, "--json");
  expect([two.code, two.json.error.code]).toEqual([2, "SAVE_TAPS_USAGE"]);
  const without = await run("parity", hf, hf, "--by", "layers", "--json");
  expect([without.code, without.json.error.code]).toEqual([2, "PARITY_USAGE"]);
  const logits = await run("parity", native, "--config", hf, "--golden", join(FIXTURES, "demo/golden.safetensors"), "--by", "layers", "--json"); // biome-ignore format: one call
  expect([logits.code, logits.json.error.code]).toEqual([3, "GOLDEN_WITHOUT_TAPS"]);
  expect(existsSync(golden)).toBe(false);
});

describe("parts", () => {
  const parity = ["parity", native, hf, "--config", hf, "--backend", "cpu", "--max-kl", "1e-9"];

  it("leave what finalize joins into one verdict, in the document of a parity", async () => {
    const into = join(scratch(), "proof");
    const first = await run(...parity, "--part", "1/2", "--into", into, "--json");
    expect(first.json).toMatchObject({ verdict: "pass", number: 1, of: 2, by: "tokens", covers: "tokens 0 to 255" });
    const missing = await run("finalize", into, "--json");
    expect([missing.code, missing.json.error.code]).toEqual([3, "PARTS_MISSING"]);
    const standing = await run("finalize", into, "--dry-run");
    expect(standing.code).toBe(1);
    expect(standing.stdout).toMatch(/^✗ all parts are there, and of one plan: 1 of 2; part 2 of 2 is missing$/m);
    expect(standing.stdout).toMatch(/^– what the missing parts cover: logits of 256 of 512 tokens were not compared$/m);
    expect(standing.stdout).toMatch(/NOT shown to be the same model yet: part 2 .* part 1 passed by itself$/m);
    expect((await run(...parity, "--part", "2/2", "--into", into)).stdout).toMatch(
      /^– the model as a whole: 1 of 2 parts are not enough to tell/m,
    );
    expect((await run("finalize", into, "--dry-run")).code).toBe(0);
    const { code, json } = await run("finalize", into, "--json");
    expect(code).toBe(0);
    expect(json).toMatchObject({ verdict: "pass", metrics: { tokens: 512 }, thresholds: { origin: "given" } });
    expect(json.parts).toMatchObject([{ covers: "tokens 0 to 255" }, { covers: "tokens 256 to 511" }]);
    expect((await run("finalize", into)).stdout).toMatch(/^2 +tokens 256 to 511 +pass /m);
  });

  it.each([
    ["no folder", ["--part", "1/2"], "PART_USAGE"],
    ["a folder without a part", ["--into", "x"], "PART_USAGE"],
    ["a part that is none", ["--part", "3/2", "--into", "x"], "PART_NUMBER"],
    ["no number", ["--part", "one", "--into", "x"], "PART_MALFORMED"],
    ["logits of a part", ["--part", "1/2", "--into", "x", "--save-logits", "y"], "PART_USAGE"],
    ["layers of two checkpoints", ["--part", "1/2", "--into", "x", "--by", "layers"], "PARITY_USAGE"],
    ["too many parts", ["--part", "1/99", "--into", "x"], "PARTS_TOO_MANY"],
  ])("%s is wrong usage, and makes no folder", async (_, options, error) => {
    const { code, json } = await run(...parity, ...options, "--json");
    expect([code, json.error.code]).toEqual([2, error]);
    expect(existsSync("x")).toBe(false);
  });
});
