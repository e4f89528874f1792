// `--save-taps` of one side, and `--by layers` of the other.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
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
