// Where --report writes: a file by its extension or by a format before it, stdout, the summary of a step.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";
import { run } from "./command.ts";

const hf = join(FIXTURES, "llama3/split/hf");

afterEach(() => vi.unstubAllEnvs());

describe("--report", () => {
  it("- is Markdown on stdout, and nothing else there", async () => {
    const { code, stdout, stderr } = await run("validate", hf, "--report", "-");
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^# validate: PASS\n/);
    expect(stdout).toContain("<details><summary>Evidence</summary>");
    expect(stdout).not.toContain("✓ ");
    const failed = await run("validate", "/nowhere", "--report", "-");
    expect(failed.code).toBe(3);
    expect(failed.stdout).toMatch(/^# validate: ERROR\n/);
  });

  it("takes a format before the file, or before -", async () => {
    const file = join(scratch(), "of-no-extension");
    const { stdout } = await run("validate", hf, "--report", `md:${file}`, "--report", "json:-");
    expect(readFileSync(file, "utf8")).toMatch(/^# validate: PASS\n/);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: "pass", tool: "convert-checkpoint" });
    expect((await run("validate", hf, "--report", "xml:-")).stdout).toMatch(/^<\?xml /);
  });

  it.each([[["--report", "-", "--json"]], [["--report", "-", "--report", "json:-"]]])(
    "has stdout once: %j",
    async (options) => {
      const { code, stderr } = await run("validate", hf, ...options);
      expect(code).toBe(2);
      expect(stderr).toContain("error[REPORT_STDOUT_TWICE]");
    },
  );

  it("adds to the file that GITHUB_STEP_SUMMARY names, as Markdown, and to no other of no extension", async () => {
    const summary = join(scratch(), "step_summary_1234");
    writeFileSync(summary, "of an earlier step\n");
    vi.stubEnv("GITHUB_STEP_SUMMARY", summary);
    expect((await run("validate", hf, "--report", summary)).code).toBe(0);
    await run("inspect", hf, "--report", summary);
    expect(readFileSync(summary, "utf8")).toMatch(
      /^of an earlier step\n# validate: PASS\n[\s\S]*\n# inspect: INSPECTED\n/,
    );
    const other = await run("validate", hf, "--report", `${summary}5`);
    expect(other.stderr).toContain("error[REPORT_FORMAT_UNKNOWN]");
  });
});
