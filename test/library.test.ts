// The library gives what the command gives: for one case of each command the same verdict and the same JSON document.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import * as library from "../src/index.ts";
import { homeOf } from "../src/output/home.ts";
import { run } from "./cli/command.ts";
import { FIXTURES } from "./helpers/fixtures.ts";
import { scratch } from "./helpers/scratch.ts";

const { adapters } = library;
const native = join(FIXTURES, "demo/native");
const hf = join(FIXTURES, "demo/hf");
const fp8 = join(FIXTURES, "deepseek_v3/fp8/hf");

function open(path: string): library.Checkpoint {
  const checkpoint = library.openCheckpoint(path);
  onTestFinished(() => checkpoint.close());
  return checkpoint;
}

const model = (path: string, config?: string): library.Model => library.openModel(open(path), { adapters, config });

/** What differs from run to run, and where a copy was written. */
const MEASURED: ReadonlySet<string> = new Set([
  "seconds",
  "peakRamBytes",
  "backendPeakBytes",
  "freeMemoryBytes",
  "freeDiskBytes",
]);

const withoutMeasures = (text: string, target = ""): unknown =>
  JSON.parse(text, (name, value) => (MEASURED.has(name) || (target !== "" && value === target) ? "…" : value));

/** The command's exit code and JSON are the document's. `targets`: where either wrote. */
async function expectSame(
  document: library.ReportDocument,
  args: readonly string[],
  targets = ["", ""],
): Promise<void> {
  const { code, stdout, stderr } = await run(...args, "--json");
  expect(stderr).toBe("");
  expect(code).toBe(document.verdict === "pass" ? 0 : 1);
  expect(document.title).toBe(args[0]);
  const rendered = library.renderJson({ ...document, header: headerOf(stdout) });
  expect(withoutMeasures(rendered, targets[0])).toEqual(withoutMeasures(stdout, targets[1]));
}

/** The header of a document that the command printed: of a run, which a library's caller has none of. */
function headerOf(json: string): library.Header {
  const { tool, version, command, time, host, inputs, files, filesRead = files, configs } = JSON.parse(json);
  const inputFiles = inputs && { files: inputs.files };
  return { tool, version, command, time, host, inputs: inputFiles, files: filesRead, configs };
}

describe("the library's document is the command's:", () => {
  test("inspect", async () => {
    const inspection = library.inspect(open(native), { adapters });
    expect(inspection.problems).toHaveLength(1);
    await expectSame(library.inspectDocument(inspection), ["inspect", native]);
  });

  test("seal and match", async () => {
    const sealed = await library.seal(open(hf), { adapters });
    await expectSame(library.sealDocument(sealed, null), ["seal", hf]);
    const file = join(scratch(), "seal.json");
    writeFileSync(file, library.encodeSeal(sealed.seal));
    expect(library.readSeal(file)).toEqual(sealed.seal);
    const result = await library.match(open(native), library.readSeal(file), { adapters });
    await expectSame(library.matchDocument(result), ["match", native, file]);
  });

  test("inspect, of no known family", async () => {
    const inspection = library.inspect(open(join(FIXTURES, "demo/golden.safetensors")), { adapters });
    expect(inspection.family).toBeNull();
    await expectSame(library.inspectDocument(inspection), ["inspect", join(FIXTURES, "demo/golden.safetensors")]);
  });

  test("plan", async () => {
    const plan = library.planConversion(open(native), undefined, { adapters, config: hf, dtype: ["f32"] });
    await expectSame(library.planDocument(plan), ["plan", native, "--config", hf, "--dtype", "f32"]);
  });

  test("convert, and the files are the same", async () => {
    const [ours, theirs] = [join(scratch(), "a"), join(scratch(), "b")];
    const plan = library.planConversion(open(fp8), ours, { adapters, encoding: "none", to: "hf", sha256: true });
    const result = await library.convert(plan);
    const args = ["convert", fp8, theirs, "--encoding", "none", "--to", "hf"];
    await expectSame(library.convertDocument(result), args, [ours, theirs]);
    for (const { name } of result.files)
      expect(readFileSync(join(ours, name)).equals(readFileSync(join(theirs, name))), name).toBe(true);
  });

  test("diff", async () => {
    const options = { adapters, config: hf };
    const equal = await library.diff(open(native), open(hf), { a: options, b: options });
    expect(equal.verdict).toBe("pass");
    await expectSame(library.diffDocument(equal), ["diff", native, hf, "--config", hf]);
  });

  test("validate, of a checkpoint that fails it", async () => {
    const broken = join(scratch(), "broken");
    cpSync(hf, broken, { recursive: true });
    const weights = readFileSync(join(broken, "model.safetensors"));
    weights.fill(0, weights.length - 147_456); // one tensor at least, as a whole
    writeFileSync(join(broken, "model.safetensors"), weights);
    const result = await library.validate(model(broken));
    expect(result.verdict).toBe("fail");
    await expectSame(library.validateDocument(result), ["validate", broken]);
  });

  test("roundtrip", async () => {
    const result = await library.roundtrip(model(fp8));
    await expectSame(library.roundtripDocument(result), ["roundtrip", fp8]);
  });

  test("parity, on a prompt", async () => {
    const input = { kind: "prompt", text: "The quick brown fox", tokenizer: hf } as const;
    const report = await library.runParity({ a: model(native, hf), b: model(hf), input, backend: "cpu" });
    const document = library.parityDocument(report, await library.tokenTexts(report.nextTokens, hf));
    expect(library.renderText(document)).toMatch(/" \(\d+\)/);
    const args = ["parity", native, hf, "--config", hf, "--backend", "cpu", "--prompt", "The quick brown fox"];
    await expectSame(document, args);
  });

  test("parity of FP8 that is declared as bf16 and what a trainer loads it into: both are decoded alike", async () => {
    const declared = join(scratch(), "declared");
    cpSync(fp8, declared, { recursive: true });
    const config = readFileSync(join(declared, "config.json"), "utf8");
    writeFileSync(join(declared, "config.json"), config.replace('"dtype": "float32"', '"dtype": "bfloat16"'));
    const trained = join(FIXTURES, "deepseek_v3/fp8/native");
    const report = await library.runParity({ a: model(trained, declared), b: model(declared), backend: "cpu" });
    expect(report).toMatchObject({ verdict: "pass", b: { dtype: "F32", encoding: "fp8" }, metrics: { klMeanNats: 0 } });
    const args = ["parity", trained, declared, "--config", declared, "--backend", "cpu"];
    await expectSame(library.parityDocument(report), args);
  });

  test("parity against a golden", async () => {
    const golden = join(FIXTURES, "demo/golden.safetensors");
    const report = await library.runParity({ a: model(hf), golden, backend: "cpu" });
    await expectSame(library.parityDocument(report), ["parity", hf, "--golden", golden, "--backend", "cpu"]);
  });

  test("a page of each kind is the one that --report writes", async () => {
    const home = scratch();
    const document = library.inspectDocument(library.inspect(open(native), { adapters }));
    const { renderHtml, renderJson, renderJunit, renderMarkdown } = library;
    const renderers = { "a.html": renderHtml, "a.json": renderJson, "a.md": renderMarkdown, "a.xml": renderJunit };
    const files = Object.keys(renderers).map((name) => join(home, name));
    await run("inspect", native, "--quiet", ...files.flatMap((file) => ["--report", file]));
    const header = headerOf(readFileSync(join(home, "a.json"), "utf8"));
    const untimed = (text: string) => text.replaceAll(/\b\d+\.\d+( s\b|(?="))/g, "…");
    for (const [i, [name, render]] of Object.entries(renderers).entries()) {
      expect(library.rendererFor(name)).toBe(render);
      expect(untimed(render({ ...document, header, seconds: 0.01 }))).toBe(untimed(readFileSync(files[i]!, "utf8")));
    }
  });

  test("clean, of what is not to be removed", async () => {
    const target = join(scratch(), "target");
    mkdirSync(homeOf(target));
    writeFileSync(join(homeOf(target), "mine"), "");
    const cleaned = library.leftoversAt(target).map(library.cleanLeftover);
    expect(cleaned).toMatchObject([{ state: "foreign", done: "kept" }]);
    await expectSame(library.cleanDocument(target, cleaned), ["clean", target]);
  });

  test("families", async () => {
    await expectSame(library.familiesDocument(library.families(adapters)), ["families"]);
  });

  test("doctor", async () => {
    await expectSame(library.doctorDocument(await library.doctor(adapters)), ["doctor"]);
  });

  test("an error", async () => {
    const error = await Promise.resolve()
      .then(() => model(native))
      .catch((thrown: unknown) => thrown);
    const failure = library.failureOf(error);
    const { code, stdout } = await run("validate", native, "--json");
    expect([failure.exitCode, failure.code]).toEqual([code, "CONFIG_MISSING"]);
    const document = { ...library.failureDocument("validate", failure), header: headerOf(stdout) };
    expect(JSON.parse(library.renderJson(document))).toEqual(JSON.parse(stdout));
  });
});

describe("an argument of another kind is told at once, with the way to the right one:", () => {
  const checkpoint = () => open(hf);
  const options = { adapters };
  // As JavaScript calls them.
  const call = (name: string, ...args: unknown[]): unknown => Reflect.apply(Reflect.get(library, name), null, args);
  test.each<[string, () => readonly unknown[], string]>([
    ["openCheckpoint", () => [undefined], "takes a path, and was given nothing"],
    ["openCheckpoint", () => [checkpoint()], "takes a path, and was given a Checkpoint"],
    ["openModel", () => [hf, options], "takes a Checkpoint, and was given a path"],
    ["openModel", () => [checkpoint()], "takes options with the families"],
    ["inspect", () => [hf, options], "takes a Checkpoint, and was given a path"],
    ["inspect", () => [model(hf), options], "takes a Checkpoint, and was given a Model"],
    ["inspect", () => [checkpoint()], "takes options with the families"],
    ["planConversion", () => [hf, "target", options], "takes a Checkpoint, and was given a path"],
    ["planConversion", () => [checkpoint(), "target"], "takes options with the families"],
    ["convert", () => [checkpoint(), "target"], "takes a plan, and was given a Checkpoint"],
    ["diff", () => [model(hf), checkpoint(), { a: options, b: options }], "takes a Checkpoint, and was given a Model"],
    ["diff", () => [checkpoint(), hf, { a: options, b: options }], "takes a Checkpoint, and was given a path"],
    ["diff", () => [checkpoint(), checkpoint(), options], "takes options with the families"],
    ["validate", () => [checkpoint()], "takes a Model, and was given a Checkpoint"],
    ["roundtrip", () => [hf], "takes a Model, and was given a path"],
    ["runParity", () => [{ a: checkpoint(), b: model(hf) }], "takes a Model, and was given a Checkpoint"],
    ["runParity", () => [{ a: model(hf), b: hf }], "takes a Model, and was given a path"],
    ["runParity", () => [model(hf)], "takes a Model, and was given nothing"],
  ])("%s %#", async (name, args, message) => {
    const error = await Promise.resolve()
      .then(() => call(name, ...args()))
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(library.UsageError);
    expect(error).toMatchObject({ code: "ARGUMENT_KIND", message: expect.stringContaining(`${name}() ${message}`) });
  });
});
