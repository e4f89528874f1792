// What a person reads of a parity run.
import { describe, expect, it } from "vitest";
import type { ParityReport } from "../../../src/parity/parity.ts";
import { renderHtml } from "../../../src/report/html.ts";
import { renderMarkdown } from "../../../src/report/markdown.ts";
import { parityDocument } from "../../../src/report/views/parity.ts";
import { storedParity, textOf } from "../stored.ts";

const report = (name: string): ParityReport => storedParity(`parity-${name}`);

const textOfRun = (name: string): string => textOf(parityDocument(report(name)));

describe("known differences upstream", () => {
  it("are shown below the limit, too, with their share and both verdicts", () => {
    const text = textOfRun("known-below");
    expect(text).toMatch(/^Known differences upstream\ncode .*\nVISION_MERGER_GELU +\d\.\d\de-9 /m);
    expect(text).toMatch(/^✓ the same with known upstream differences undone: mean KL \d\.\d\de-1\d$/m);
    expect(text).toMatch(/\nthe same weights under the config given: .*\n$/);
  });

  it("have no table where there are none", () => {
    expect(report("untied")).toMatchObject({ knownDifferences: [], klMeanNatsWithoutKnown: null });
    expect(textOfRun("untied")).not.toMatch(/known/i);
  });

  it("fail, and the last line says how to let them pass", () => {
    const text = textOfRun("known-fail");
    expect(text).toMatch(/^✗ mean KL within its limit: .*\n✓ the same with known upstream differences undone: /m);
    expect(text).toMatch(/\nNOT the same model: .* by known .* alone \(VISION_MERGER_GELU\); --accept-known .*\n$/);
    expect(textOfRun("known-accepted")).toMatch(
      /\nthe same model but for known upstream differences \(VISION_MERGER_GELU\), under the config given: .*\n$/,
    );
  });

  it("of MTP layers move no logit: told by what does differ, also when they are accepted", () => {
    expect(report("mtp").cause).toMatchObject({
      code: "MTP_BEFORE_NORM",
      evidence: expect.stringMatching(/^no logit .* by \d/),
    });
    expect(textOfRun("mtp")).toMatch(/^✗ multi-token prediction agrees: /m);
    expect(textOfRun("mtp-accepted")).toMatch(
      /\nthe same model but for known upstream differences \(MTP_BEFORE_NORM\)/,
    );
  });
});

describe("checks", () => {
  it("that held are listed with those that failed", () => {
    const pass = textOfRun("pass");
    expect(pass).toMatch(
      /^✓ top-1 agreement within its limit: 100 %, at least 99\.00 % \(.*\)\n✓ every logit is finite: /m,
    );
    expect(pass).toMatch(
      /^– the configs give the same mathematics: a has no config of its own, \S+ was used for both: /m,
    );
    expect(pass).toMatch(/^✓ weights are equal bit for bit, or what differs was run: 21 of 21$/m);
    const other = textOfRun("config");
    expect(other).toMatch(/^✗ the configs give the same mathematics: .*rms_norm_eps$/m);
    expect(other).toMatch(/^✓ tied tensors are equal: /m);
  });

  it("of a golden are of one side; one that is not finite is to be recorded again", () => {
    const golden = report("golden-nan");
    expect(golden.cause).toMatchObject({ code: "NON_FINITE", fix: expect.stringMatching(/^record the golden again/) });
    const text = textOfRun("golden-nan");
    expect(text).toMatch(/^✗ every logit is finite: .* at position 0 is NaN; 1 position has such logits$/m);
    expect(text).not.toContain("the configs");
    expect(text).toMatch(/^b +.*golden-nan\.safetensors \(recorded logits, F32\)$/m);
  });
});

describe("experts", () => {
  it("that differ have a line a layer; none that agree", () => {
    const text = textOfRun("mtp");
    expect(text).toMatch(/^routing +166 of 1,024 choices of experts \(each token at 2 layers\) differ, made by a /m);
    expect(text).toMatch(/^Experts by layer\nlayer .*\nmtp\.0 +512 +166 +8\.\d\de-1\n\n/m);
    const agreed = textOfRun("untied");
    expect(agreed).toMatch(/^routing +0 of 1,024 choices .* differ; the closest made by a margin of \d\.\d\de-5$/m);
    expect(agreed).not.toContain("Experts by layer");
  });

  it("that are pinned cannot differ, and the report does not say that they agree", () => {
    const text = textOfRun("pinned");
    expect(text).toMatch(/^routing +pinned, b takes those of a: 1,024 choices .*, the closest made by a margin of /m);
  });
});

describe("numbers", () => {
  it("a KL that f64 cannot tell from 0 is 0", () => {
    const pass = report("pass");
    const [first, ...bands] = pass.positions.bands;
    const positions = { ...pass.positions, bands: [{ ...first!, klMeanNats: -1e-16 }, ...bands] };
    const { tables } = parityDocument({ ...pass, positions });
    const byPosition = tables.find(({ title }) => title === "KL by position");
    expect(byPosition?.rows[0]?.slice(0, 2)).toEqual(["0", "0"]);
  });

  it("of NaN are no probabilities; the weight that has one is named", () => {
    const text = textOfRun("nan-weight");
    expect(text).not.toContain("NaN %");
    expect(text).not.toContain("Likeliest next tokens");
    expect(report("nan-weight").cause).toMatchObject({
      code: "NON_FINITE",
      tensors: ["model.layers.1.mlp.up_proj.weight"],
    });
    expect(text).toMatch(
      /^NOT the same model: .*\n\ncause +NON_FINITE: .*\nplace +model\.layers\.1\.mlp\.up_proj\.weight\n/,
    );
  });

  it("names a few of the tensors of a step, and all in JSON", () => {
    expect(textOfRun("localised")).toMatch(
      /^place +first difference at .* that step read (\S+, ){3}\S+ and 8 more tensors$/m,
    );
    expect(report("localised").firstDivergence?.tensors).toHaveLength(12);
  });
});

it("tells tensors whose keys differ in numbers alone as one place", () => {
  const failed = report("nan-weight");
  const tensors = [0, 1, 2, 3, 7].map((e) => `model.layers.1.mlp.experts.${e}.up_proj.weight`);
  const causes = [{ ...failed.causes[0]!, tensors: [...tensors, "lm_head.weight"] }];
  expect(parityDocument({ ...failed, causes }).diagnoses![0]!.places[0]).toBe(
    "model.layers.1.mlp.experts.{0–3,7}.up_proj.weight (5 tensors), lm_head.weight",
  );
});

describe("inputs", () => {
  it("of several kinds of text have a line each; one has none", () => {
    expect(textOfRun("prompts")).toMatch(
      /^Inputs\n.* tokens .*\n1 This program is +\d+ .*\n2 free +\d+ .*\n\nLikeliest next tokens, behind the last input\n/m,
    );
    expect(textOfRun("pass")).not.toMatch(/^Inputs$/m);
  });

  it("are named by the words of their tokens where a tokenizer told them", () => {
    const prompts = report("prompts");
    const { id } = prompts.nextTokens.a[0]!;
    expect(textOf(parityDocument(prompts, new Map([[id, " the"]])))).toMatch(
      new RegExp(`^" the" \\(${id}\\) +\\d`, "m"),
    );
    expect(textOf(parityDocument(prompts))).toMatch(new RegExp(`^${id} +\\d`, "m"));
  });
});

it("says the same in Markdown and HTML", () => {
  const document = parityDocument(report("mtp"));
  expect(renderMarkdown(document)).toMatch(/^# parity: FAIL\n\nNOT the same model: /);
  expect(renderMarkdown(document)).toContain("| multi-token prediction agrees | ❌ failed | ");
  expect(renderHtml(document)).toContain('<td class="failed"><span class="status">failed</span></td>');
});
