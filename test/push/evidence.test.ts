// Reports as evidence: bound to the very files by their hashes, or refused.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { run } from "../cli/command.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const { hf, native } = fixture("llama3/split");
const place = scratchPlace();

/** Made once: reports on one conversion. */
function scratchPlace() {
  let made: Promise<{ folder: string; report: (name: string) => string; model: string }> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

async function make() {
  const { mkdtempSync } = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const folder = mkdtempSync(join(tmpdir(), "convert-checkpoint-evidence-"));
  const report = (name: string) => join(folder, `${name}.json`);
  const model = join(folder, "model");
  const ids = join(folder, "ids.json");
  writeFileSync(ids, "[1, 2, 3, 4, 5, 6, 7, 8]");
  const quiet = (...args: string[]) => run(...args, "--quiet");
  await quiet("convert", native, model, "--config", hf, "--report", report("convert"));
  await quiet("roundtrip", model, "--report", report("roundtrip"));
  await quiet("roundtrip", native, "--config", hf, "--report", report("roundtrip-source"));
  await quiet("validate", model, "--report", report("validate"));
  await quiet("diff", native, model, "--config", hf, "--report", report("diff"));
  await quiet("seal", model, report("seal-file"), "--report", report("seal"));
  await quiet("check", native, model, "--config", hf, "--only", "identity,ledger", "--report", report("check"));
  await quiet("parity", native, model, "--config", hf, "--backend", "cpu", "--ids", ids, "--report", report("parity"));
  await quiet("validate", fixture("llama3/bf16").hf, "--report", report("other"));
  return { folder, report, model };
}

async function card(names: readonly string[], change: (model: string) => void = () => {}) {
  const { model: made, report } = await place();
  const model = join(scratch(), "model");
  cpSync(made, model, { recursive: true });
  change(model);
  const evidence = names.flatMap((name) => ["--evidence", report(name)]);
  const ran = await run("push", model, "--card", ...evidence, "--json");
  return { ...ran, json: ran.json, read: () => readFileSync(join(model, "README.md"), "utf8") };
}

const section = (text: string, title: string): string =>
  new RegExp(`### ${title}\\n\\n([\\s\\S]*?)\\n\\n(?:###|<!--)`).exec(text)?.[1] ?? "";

describe("reports on the files themselves", () => {
  it("say what was verified, with their figures, and leave open what they leave open", async () => {
    const { code, json, read, stderr } = await card(["convert", "roundtrip", "validate", "diff", "parity"]);
    expect([stderr, code]).toEqual(["", 0]);
    expect(json.evidence.map(({ bond }: { bond: string }) => bond)).toEqual([
      "files",
      "files",
      "files",
      "files",
      "files",
    ]);
    const text = read();
    expect(text).toContain("| source | `native`, not on the Hub, layout torchtitan, dcp |");
    expect(text).not.toContain(hf);
    const verified = section(text, "Verified");
    expect(verified).toMatch(
      /\*\*parity\*\* .*: mean KL \S+ nats\/token \(limit 1e-8\), .* over 8 tokens of ids input, on cpu/,
    );
    expect(verified).toMatch(/\*\*convert\*\* .*every tensor has its place/);
    expect(verified).toMatch(/\*\*roundtrip\*\* .*every tensor came back bit for bit/);
    const open = section(text, "Not verified");
    expect(open).not.toContain("no report of");
    expect(open).toContain("- parity: the configs give the same mathematics: ");
    expect(text).toMatch(/npx convert-checkpoint@\S+ convert native model --config hf$/m);
  });

  it("are bound by the seal, too, and those on the source by the conversion", async () => {
    const { json } = await card(["convert", "check", "seal", "roundtrip-source"]);
    expect(json.evidence.map(({ bond }: { bond: string }) => bond)).toEqual(["files", "files", "files", "source"]);
    const sealed = await card(["seal"], (model) => {
      // The same weights in another container: other bytes, the same model.
      const file = join(model, "model.safetensors");
      const bytes = readFileSync(file);
      const length = bytes.readUInt32LE(0);
      const padded = Buffer.concat([
        bytes.subarray(0, 8 + length),
        Buffer.from("        "),
        bytes.subarray(8 + length),
      ]);
      padded.writeUInt32LE(length + 8, 0);
      writeFileSync(file, padded);
    });
    expect(sealed.json.evidence).toMatchObject([{ bond: "model" }]);
  });

  it("give the same card for the same facts", async () => {
    const [one, two] = [await card(["convert", "diff"]), await card(["convert", "diff"])];
    expect(one.read()).toBe(two.read());
  });

  it("that failed stand first, and count for nothing", async () => {
    const { report } = await place();
    const failed = report("failed");
    const document = JSON.parse(readFileSync(report("validate"), "utf8"));
    document.verdict = "fail";
    document.checks[0].status = "failed";
    writeFileSync(failed, JSON.stringify(document));
    const { read } = await card(["failed"]);
    const text = read();
    expect(section(text, "Failed")).toContain(document.checks[0].name.slice(0, 9));
    expect(section(text, "Verified")).not.toContain("validate");
    expect(section(text, "Not verified")).toContain(
      "finite and initialised: no report of validate or check that passed",
    );
  });
});

describe("what is no evidence", () => {
  const flip = (file: string) => (model: string) => {
    const path = join(model, file);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
  };
  const configChanged = (model: string) => {
    const path = join(model, "config.json");
    writeFileSync(path, readFileSync(path, "utf8").replace(/"rms_norm_eps": [^,\n]+/, '"rms_norm_eps": 0.125'));
  };
  it.each([
    ["of another model", ["other"], undefined, "EVIDENCE_FOREIGN"],
    ["of weights that changed since", ["convert", "validate"], flip("model.safetensors"), "EVIDENCE_FOREIGN"],
    ["of a seal that is no longer theirs", ["seal"], flip("model.safetensors"), "EVIDENCE_FOREIGN"],
    ["of another config", ["validate"], configChanged, "EVIDENCE_FOREIGN"],
    ["a source's without the conversion", ["roundtrip-source"], undefined, "EVIDENCE_FOREIGN"],
    ["a seal itself", ["seal-file"], undefined, "EVIDENCE_MALFORMED"],
    ["no file", ["none"], undefined, "NOT_FOUND"],
  ])("%s", async (_name, names, change, expected) => {
    const { code, json } = await card(names, change);
    expect(code).toBe(3);
    expect(json.error).toMatchObject({ code: expected, help: expect.any(String) });
  });

  it("words", async () => {
    const { report } = await place();
    writeFileSync(
      report("words"),
      JSON.stringify({ verdict: "pass", checks: [{ name: "all is well", status: "passed" }] }),
    );
    expect((await card(["words"])).json.error.code).toBe("EVIDENCE_MALFORMED");
  });
});
