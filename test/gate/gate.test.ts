// `gate`: what a file asks for is what is checked, and one verdict over all of it.
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { run } from "../cli/command.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

/** A folder with the demo in it, and a gate file beside. */
function place(gate: object, wrong = false): string {
  const folder = scratch();
  for (const name of ["native", "hf"]) cpSync(join(FIXTURES, "demo", name), join(folder, name), { recursive: true });
  cpSync(join(FIXTURES, "demo/golden.safetensors"), join(folder, "golden.safetensors"));
  writeFileSync(join(folder, "ids.json"), JSON.stringify(Array.from({ length: 33 }, (_, i) => (i * 37) % 768)));
  const config = join(folder, "hf/config.json");
  const theta = /("rope_theta": )[\d.]+/;
  if (wrong) writeFileSync(config, readFileSync(config, "utf8").replace(theta, "$1500000.0"));
  const file = join(folder, "gate.json");
  writeFileSync(file, JSON.stringify({ backend: "cpu", inputs: { ids: ["ids.json"] }, ...gate }));
  return file;
}

const PAIR = { source: "native", target: "hf", goldens: ["golden.safetensors"] };

test("paths are the file's, and every checkpoint has its suite in the report", async () => {
  const file = place({
    checkpoints: [PAIR, { name: "alone", source: "hf", checks: ["hub"] }],
    reports: ["out/junit.xml", "out/gate.md", "$NO_SUCH_NAME"],
  });
  const { code, json } = await run("gate", file, "--json");
  expect(json.checks).toEqual([
    { name: "native → hf", status: "passed", detail: expect.stringMatching(/^\d+ checks held$/) },
    { name: "alone", status: "passed", detail: expect.stringMatching(/^\d+ checks held$/) },
  ]);
  expect(code).toBe(0);
  const junit = readFileSync(join(file, "../out/junit.xml"), "utf8");
  expect([...junit.matchAll(/<testsuite name="([^"]*)"/g)].map(([, name]) => name)).toEqual(["native → hf", "alone"]);
  expect(junit).toContain('<property name="limit of rounding" value="');
  expect(junit).toContain("golden.safetensors: every logit is finite");
  expect(readFileSync(join(file, "../out/gate.md"), "utf8")).toContain("native → hf");
});

test("one page that fails fails the gate; what was accepted by name is told with its reason", async () => {
  const file = place({ checkpoints: [{ ...PAIR, goldens: [] }] }, true);
  // The native side has no config: that of the other side serves both, and no check between them can see it.
  const { code, json } = await run("gate", file, "--json");
  expect(code).toBe(0);
  expect(json.checkpoints[0].checks).toContainEqual(
    expect.objectContaining({ name: "config: the configs give the same mathematics", status: "not checked" }),
  );
  const withGolden = await run("gate", place({ checkpoints: [PAIR] }, true), "--json");
  expect(withGolden.code).toBe(1);
  expect(withGolden.json.checks[0]).toMatchObject({ status: "failed" });
  const reason = "rope was scaled after training";
  const accept = { config: [{ field: "rope_theta", reason }] };
  const own = join(FIXTURES, "demo/hf");
  const pair = { source: "native", sourceConfig: own, target: "hf", accept };
  const waived = await run("gate", place({ checkpoints: [pair] }, true), "--json");
  expect(waived.json.checkpoints[0].checks).toContainEqual({
    name: "config: the configs give the same mathematics",
    status: "passed",
    detail: expect.stringContaining(reason),
  });
  // The logits are another matter: only a limit lets them differ.
  expect(waived.code).toBe(1);
  const limits = { maxKl: 10 };
  const lenient = await run("gate", place({ checkpoints: [pair], limits }, true), "--json");
  expect(lenient.json.checks[0]).toMatchObject({ status: "passed" });
  expect(lenient.code).toBe(0);
});

test("a checkpoint that cannot be read fails, the others go on; where none can, exit 3", async () => {
  const file = place({
    checkpoints: [{ source: "nowhere" }, { source: "hf", checks: ["ledger"] }],
    reports: ["j.xml"],
  });
  const { code, json } = await run("gate", file, "--json");
  expect(code).toBe(1);
  expect(json.checkpoints[0]).toMatchObject({ verdict: "error", error: { code: "NOT_FOUND" } });
  expect(json.checks.map(({ status }: { status: string }) => status)).toEqual(["failed", "passed"]);
  const none = place({ checkpoints: [{ source: "nowhere" }], reports: ["j.xml"] });
  expect((await run("gate", none)).code).toBe(3);
  expect(existsSync(join(none, "../j.xml"))).toBe(true);
});

test("what is required and cannot be checked fails; wrong names are refused before anything is read", async () => {
  const checkpoints = [{ source: "hf", checks: ["ledger", "parity"] }];
  expect((await run("gate", place({ checkpoints }))).code).toBe(0);
  expect((await run("gate", place({ checkpoints, require: ["parity"] }))).code).toBe(1);
  expect(await run("gate", place({ checkpoints: [{ sorce: "hf" }] }))).toMatchObject({ code: 3 });
  const known = { known: [{ code: "NO_SUCH_CODE", reason: "none" }] };
  expect(await run("gate", place({ checkpoints: [PAIR], accept: known }))).toMatchObject({ code: 2 });
  const { code, stderr } = await run("gate", join(scratch(), "gate.json"));
  expect(code).toBe(3);
  expect(stderr).toContain('help: write what is to be checked: { "checkpoints"');
});
