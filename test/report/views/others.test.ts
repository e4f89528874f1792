// What a person reads of every other command.
import { describe, expect, it } from "vitest";
import { adapters } from "../../../adapters/registry.ts";
import type { Conversion } from "../../../src/convert/convert.ts";
import type { Diagnosis } from "../../../src/parity/doctor.ts";
import { convertDocument } from "../../../src/report/views/convert.ts";
import { diffDocument } from "../../../src/report/views/diff.ts";
import { doctorDocument } from "../../../src/report/views/doctor.ts";
import { families, familiesDocument } from "../../../src/report/views/families.ts";
import { inspectDocument } from "../../../src/report/views/inspect.ts";
import { roundtripDocument } from "../../../src/report/views/roundtrip.ts";
import { validateDocument } from "../../../src/report/views/validate.ts";
import type { Diff } from "../../../src/verify/diff.ts";
import type { Inspection } from "../../../src/verify/inspect.ts";
import type { RoundTrip } from "../../../src/verify/roundtrip.ts";
import type { Validation } from "../../../src/verify/validate.ts";
import { stored, textOf } from "../stored.ts";

describe("convert", () => {
  it("lists casts, what was kept, and files with their hashes", () => {
    const result = stored<Conversion>("convert");
    const text = textOf(convertDocument(result));
    expect(text).toMatch(/^Casts\ntensor +from +to +largest relative error\n\S+ +F32 +BF16 +\d\.\d\de-3$/m);
    expect(text).toMatch(/^Kept in their type \(name one with --dtype 'GLOB=TYPE' to cast it\)\ntensor +dtype +why$/m);
    for (const { name, xxh64, sha256 = "" } of result.files)
      expect(text).toMatch(new RegExp(`^${name} +.*  ${xxh64}  ${sha256}$`, "m"));
    expect(text).toContain(`✓ every tensor has its place: ${result.sourceTensors} → ${result.tensors}\n`);
    expect(text).toMatch(/\nmade\/native: torchtitan layout, dcp, \d+ tensors, [\d.]+ kB, in .* of memory\)\n$/);
  });

  it("gathers what was left out by its root", () => {
    const text = textOf(convertDocument(stored<Conversion>("convert-raw")));
    expect(text).toMatch(/^Left out\nkey +why\n/m);
    const inspected = textOf(inspectDocument(stored<Inspection>("inspect")));
    expect(inspected).toMatch(/^Left alone\nkey +why\n(\S+\.… \([\d,]+ entr(y|ies)\) +trainer state\n)+/m);
  });

  it("says of a cast that an earlier run had written that it was not measured", () => {
    const result = stored<Conversion>("convert");
    const casts = result.casts.map((cast) => ({ ...cast, maxRelativeError: null, vanished: null }));
    expect(textOf(convertDocument({ ...result, casts }))).toMatch(/BF16 +not measured$/m);
  });
});

describe("inspect", () => {
  it("names format, family, layout and numbers", () => {
    const text = textOf(inspectDocument(stored<Inspection>("inspect")));
    expect(text).toMatch(/^format +dcp, 1 file of 1 rank$/m);
    expect(text).toMatch(/^family +llama3$/m);
    expect(text).toMatch(
      /^Problems\ncode .*\nCONFIG_MISSING +no config\.json beside the checkpoint: .* --config PATH$/m,
    );
    expect(text).toMatch(/\nllama3 in layout torchtitan, as dcp; 1 problem\n$/);
  });

  it("lists a kind of tensors in a line, each one with --all, and a few thousand kinds", () => {
    const inspection = stored<Inspection>("inspect");
    const apart = new Set(inspection.others.map(({ key }) => key));
    const own = inspection.tensors.filter(({ key }) => !apart.has(key)).length;
    const rows = (all?: boolean) => inspectDocument(inspection, [], { all }).tables[0]!.rows;
    expect(rows(true)).toHaveLength(own);
    expect(rows().length).toBeLessThan(own);
    expect(rows().some(([key, count]) => key!.includes("layers.{0–") && Number(count) > 1)).toBe(true);
    const flat = Array.from({ length: 10_000 }, (_, i) => ({ ...inspection.tensors[0]!, key: `w${i}` }));
    const text = textOf(inspectDocument({ ...inspection, tensors: flat, others: [] }));
    expect(text).toContain("5,000 more rows");
    expect(text.split("\n").length).toBeLessThan(5_100);
  });

  it("of an unknown family says what can be done", () => {
    const document = inspectDocument(stored<Inspection>("inspect-unknown"));
    expect(document.verdict).toBe("pass");
    expect(document.headline).toBe("safetensors, of no known family: only --to raw can convert it");
  });
});

describe("roundtrip, diff, validate", () => {
  it("pass with a check for each thing that was looked at", () => {
    const trip = stored<RoundTrip>("roundtrip");
    const text = textOf(roundtripDocument(trip));
    expect(text).toMatch(/^✓ every tensor came back bit for bit: \d+ tensors$/m);
    expect(text).toMatch(/^✓ model\.safetensors came back byte for byte: xxh64 [0-9a-f]{16}$/m);
    expect(text).toMatch(/^note: a round trip proves that the conversion can be undone, not that it is right/m);
    expect(text).toMatch(/^hashes +\d+ tensors; --all lists them/m);
    expect(textOf(roundtripDocument(trip, { all: true }))).toContain("Hashes\n");
    expect(roundtripDocument(trip, { all: true }).tables.at(-1)!.rows).toHaveLength(trip.hashes.length);
    expect(textOf(diffDocument(stored<Diff>("diff-pass")))).toMatch(/\nequal: 21 tensors, 281 kB, bit for bit \(/);
    expect(textOf(validateDocument(stored<Validation>("validate-pass")))).toMatch(/\nvalid: 21 tensors, 281 kB \(/);
  });

  it("fail with what differs", () => {
    const diff = textOf(diffDocument(stored<Diff>("diff-fail")));
    expect(diff).toMatch(/^Differences\ntensor +kind +what\n/m);
    expect(diff).toMatch(/^✗ same tensors\n✗ same shapes\n✓ same dtypes$/m);
    expect(diff).toMatch(/\n\d+ differences in 21 common tensors\n$/);
    const validation = textOf(validateDocument(stored<Validation>("validate-fail")));
    expect(validation).toMatch(
      /^model\.layers\.1\.mlp\.up_proj\.weight +nan +1 of 4050 elements are NaN; first at \[1, 46\]$/m,
    );
    expect(validation).toMatch(/^✗ no NaN, no infinity: 1 finding$/m);
    expect(validation).toMatch(/\n1 finding\n$/);
  });

  it("show the first 50 differences, and say how many there are", () => {
    const result = stored<Validation>("validate-fail");
    const [first] = result.differences;
    const differences = Array.from({ length: 384 }, (_, i) => ({ ...first!, key: `w${i}` }));
    const text = textOf(validateDocument({ ...result, differences }));
    expect(text.match(/^w\d+ /gm)).toHaveLength(50);
    expect(text).toContain("\n334 more rows; the JSON report has all\n");
    expect(text).toMatch(/\n384 findings\n$/);
  });
});

describe("families", () => {
  it("have a table each", () => {
    const document = familiesDocument(families(adapters));
    expect(document.tables.map(({ title }) => title)).toEqual(adapters.map(({ family }) => family));
    expect(document.headline).toMatch(new RegExp(`^${adapters.length} families, each between all formats`));
  });
});

describe("doctor", () => {
  const found = stored<Diagnosis>("doctor");

  it("says what runs where", () => {
    const text = textOf(doctorDocument(found));
    expect(text).toMatch(/^✓ Node\.js >= 20\.19: 20\.\d+\.\d+$/m);
    expect(text).toMatch(/^✓ backend wasm: f32, 2 threads; matrix products by ONNX Runtime \S+$/m);
    expect(text).toMatch(/^✓ backend webgpu: llvmpipe.* \(software\), subgroup kernels, no subgroup matrices \(/m);
    expect(text).toMatch(/^✓ images: PNG and JPEG/m);
    expect(text).toMatch(/^maxBufferSize +\d+$/m);
    expect(text).toMatch(/\nparity runs on WebGPU, by a driver on the CPU\n$/);
  });

  it("a missing GPU is a finding, not a failure; so is a missing library", () => {
    const backends = {
      ...found.backends,
      webgpu: { available: false, reason: "no adapter", help: "install a driver" },
      wasm: { available: true, noLibrary: "npm package x is not installed" },
    } as const;
    const images = { available: false, reason: "no sharp", help: "install it" } as const;
    const document = doctorDocument({ ...found, backends, images });
    expect(document).toMatchObject({ verdict: "pass", headline: "no GPU: parity runs on the CPU", tables: [] });
    expect(textOf(document)).toContain("– backend webgpu: no adapter; install a driver");
    expect(textOf(document)).toContain("; npm package x is not installed, with it matrix products are several");
    expect(textOf(document)).toContain("– images: no sharp; install it");
  });

  it("an old Node.js is one", () => {
    const document = doctorDocument({ ...found, verdict: "fail", node: "18.0.0" });
    expect(textOf(document)).toContain("✗ Node.js >= 20.19: 18.0.0");
  });
});
