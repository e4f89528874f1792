// Upstream's quantised files: refused by name, as their codes without scales are other numbers.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { converted } from "../helpers/converted.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

test.each(["deepseek_v3/fp8", "gpt_oss/mxfp4"])("%s is refused, and nothing is written", async (name) => {
  const target = join(scratch(), "native");
  await expect(converted(`${FIXTURES}${name}/hf`, target)).rejects.toMatchObject({
    code: "QUANTISED_UNSUPPORTED",
    message: `${FIXTURES}${name}/hf: its weights are quantised`,
  });
  expect(existsSync(target)).toBe(false);
});
