// The action as runners take it: its form, and its own steps, run here as action.yml writes them.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { validateAction, validateWorkflow } from "@action-validator/core";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { scratch } from "../helpers/scratch.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const text = (name: string) => readFileSync(join(root, name), "utf8");

interface Step {
  readonly id?: string;
  readonly name: string;
  readonly uses?: string;
  readonly run?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly "working-directory"?: string;
}
interface Action {
  readonly inputs: Readonly<Record<string, { readonly description: string; readonly default: string }>>;
  readonly outputs: Readonly<Record<string, { readonly value: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
}
const action: Action = parse(text("action.yml"));

/** What a runner puts in place of `${{ … }}`. */
type Values = Readonly<Record<string, string>>;
const filled = (value: string, values: Values): string =>
  value.replaceAll(/\$\{\{ *([\w.-]+) *\}\}/g, (_, name: string) => {
    if (values[name] !== undefined) return values[name];
    throw new Error(`nothing gives ${name}`);
  });

/** `name<<MARK`, lines, MARK. */
function outputsIn(file: string): Record<string, string> {
  const all = existsSync(file) ? readFileSync(file, "utf8") : "";
  return Object.fromEntries(
    [...all.matchAll(/^([\w-]+)<<(\w+)\n([\s\S]*?)\n\2$/gm)].map(([, name = "", , value = ""]) => [name, value]),
  );
}

/** Runs the action's own steps in their order, until one fails, as on a runner. */
function runAction(workspace: string, inputs: Values) {
  const temporary = scratch();
  const summary = join(temporary, "summary.md");
  const values: Record<string, string> = { "github.action_path": root, "runner.temp": temporary };
  for (const [name, input] of Object.entries(action.inputs)) values[`inputs.${name}`] = inputs[name] ?? input.default;
  let [status, log] = [0, ""];
  for (const [i, step] of action.runs.steps.entries()) {
    if (step.run === undefined || step.name === "Software GPU" || status !== 0) continue;
    const file = join(temporary, `output-${i}`);
    const env = Object.fromEntries(
      Object.entries(step.env ?? {}).map(([name, value]) => [name, filled(value, values)]),
    );
    const cwd = join(workspace, filled(step["working-directory"] ?? ".", values));
    const ran = spawnSync("bash", ["-e", "-c", step.run], {
      cwd,
      encoding: "utf8",
      env: { ...process.env, ...env, RUNNER_TEMP: temporary, GITHUB_OUTPUT: file, GITHUB_STEP_SUMMARY: summary },
    });
    status = ran.status ?? -1;
    log += ran.stdout + ran.stderr;
    for (const [name, value] of Object.entries(outputsIn(file))) values[`steps.${step.id}.outputs.${name}`] = value;
  }
  const outputs = Object.fromEntries(
    Object.entries(action.outputs).map(([name, { value }]) => [name, filled(value, values)]),
  );
  return { status, log, outputs, summary: existsSync(summary) ? readFileSync(summary, "utf8") : "" };
}

/** The demo with a gate file, as a repository would have it. */
function workspace(change: (folder: string) => void = () => {}): string {
  const folder = scratch();
  for (const name of ["native", "hf", "golden.safetensors"]) {
    cpSync(join(root, "fixtures/demo", name), join(folder, "demo", name), { recursive: true });
  }
  const checkpoints = [{ source: "native", target: "hf", goldens: ["golden.safetensors"] }];
  writeFileSync(
    join(folder, "demo/gate.json"),
    JSON.stringify({ checkpoints, backend: "cpu", checks: ["ledger", "parity", "hub"] }),
  );
  change(folder);
  return folder;
}

test("the action and its workflow are of the form that GitHub takes", () => {
  expect(validateAction(text("action.yml")).errors).toEqual([]);
  for (const name of ["gate", "publish"]) {
    expect(validateWorkflow(text(`.github/workflows/${name}.yml`)).errors, name).toEqual([]);
  }
  expect(validateWorkflow(text(".github/workflows/gate.yml").replace("uses: ./", "use: ./")).errors).not.toEqual([]);
  expect(action.runs.using).toBe("composite");
  for (const { description } of Object.values(action.inputs)) expect(description).toMatch(/\.$/);
  // What the workflow gives, the action takes.
  const { jobs } = parse(text(".github/workflows/gate.yml"));
  const [, own] = jobs.demo.steps;
  for (const name of Object.keys(own.with)) expect(Object.keys(action.inputs)).toContain(name);
  const junit: unknown = parse(text("docs/ci/gitlab.yml"))["convert-checkpoint"].artifacts.reports.junit;
  expect(text("docs/ci/gitlab.yml")).toContain(`--report ${junit}`);
});

test("a good pair passes: outputs are set, the summary is written", () => {
  const { status, outputs, summary, log } = runAction(workspace(), { gate: "demo/gate.json" });
  expect(status, log).toBe(0);
  expect(outputs).toMatchObject({ verdict: "pass", "exit-code": "0" });
  const reports = (outputs.reports ?? "").split("\n");
  expect(reports.map((path) => path.split(".").at(-1))).toEqual(["json", "xml", "html", "md"]);
  for (const path of reports) expect(existsSync(path), path).toBe(true);
  expect(summary).toContain("native → hf");
});

test("a mutant fails: exit 1, the verdict and the reports are there all the same", () => {
  const wrong = workspace((folder) => {
    const config = join(folder, "demo/hf/config.json");
    writeFileSync(config, readFileSync(config, "utf8").replace(/("rope_theta": )[\d.]+/, "$1500000.0"));
  });
  const { status, outputs, summary } = runAction(wrong, { gate: "gate.json", "working-directory": "demo" });
  expect(status).toBe(1);
  expect(outputs).toMatchObject({ verdict: "fail", "exit-code": "1" });
  expect(outputs.reports?.split("\n")).toHaveLength(4);
  expect(summary).toMatch(/golden/);
});

test("a gate file that cannot be read is an error, and no report of an earlier run is taken for this one's", () => {
  const folder = workspace((place) => {
    mkdirSync(join(place, "gate-reports"));
    writeFileSync(join(place, "gate-reports/gate.json"), '{ "verdict": "pass" }');
  });
  const { status, outputs } = runAction(folder, { gate: "nowhere.json" });
  expect(status).toBe(3);
  expect(outputs).toMatchObject({ verdict: "error", "exit-code": "3" });
});

test("npm publishes from the workflow alone, with provenance", () => {
  const { jobs, on } = parse(text(".github/workflows/publish.yml"));
  expect(on).toEqual({ release: { types: ["published"] } });
  expect(jobs.npm.permissions["id-token"]).toBe("write");
  expect(JSON.parse(text("package.json")).publishConfig).toEqual({ access: "public", provenance: true });
});

test("a package names the repository that publishes it, under the tag of its version, and no other", () => {
  const { version } = JSON.parse(text("package.json"));
  const { steps }: { steps: readonly { name?: string; run?: string }[] } = parse(text(".github/workflows/publish.yml"))
    .jobs.npm;
  const published = (tag: string) => {
    const cwd = scratch();
    writeFileSync(join(cwd, "package.json"), text("package.json"));
    const env = { ...process.env, TAG: tag, GITHUB_REPOSITORY: "someone/somewhere" };
    const script = steps.find(({ name }) => name?.startsWith("The tag is the version"))!.run!;
    const { status } = spawnSync("bash", ["-e", "-c", script], { cwd, env });
    return { status, text: readFileSync(join(cwd, "package.json"), "utf8") };
  };
  const good = published(`v${version}`);
  expect(good.status).toBe(0);
  expect(JSON.parse(good.text)).toMatchObject({
    repository: { type: "git", url: "git+https://github.com/someone/somewhere.git" },
    homepage: "https://github.com/someone/somewhere#readme",
    bugs: { url: "https://github.com/someone/somewhere/issues" },
  });
  expect(good.text.match(/github\.com\/[^/]+\/[\w-]+/g)).toEqual(Array(3).fill("github.com/someone/somewhere"));
  const other = published("v0.0.0");
  expect([other.status, other.text]).toEqual([1, text("package.json")]);
});

test("what installs the package for others installs the optional ones that it needs, in versions that it takes", () => {
  const { peerDependencies }: { peerDependencies: Readonly<Record<string, string>> } = JSON.parse(text("package.json"));
  for (const [name, range] of Object.entries(peerDependencies)) {
    expect(text("Containerfile")).toContain(`${name}@${range}`);
    expect(text("docs/ci/gitlab.yml")).toContain(`"${name}@${range}"`);
  }
});

test("the container runs the package, as nobody with rights", () => {
  const file = text("Containerfile");
  const { bin, name } = JSON.parse(text("package.json"));
  expect(file).toContain(`ENTRYPOINT ["${Object.keys(bin)[0]}"]`);
  expect(file).toContain(`COPY ${name}-*.tgz`);
  expect(file.indexOf("USER node")).toBeGreaterThan(file.lastIndexOf("RUN "));
});
