// Files of the Hub hold biases and a layer that predicts further tokens; torchtitan, the default target, has a place for neither.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adapters } from "../../../adapters/registry.ts";
import type { InputError } from "../../../src/base/errors.ts";
import { planConversion } from "../../../src/convert/plan.ts";
import { openModel } from "../../../src/model/model.ts";
import { openCheckpoint } from "../../../src/model/open.ts";
import { roundtrip } from "../../../src/verify/roundtrip.ts";
import { opened, readState, writeSafetensors } from "../../helpers/checkpoints.ts";
import { converted } from "../../helpers/converted.ts";
import { fixture } from "../../helpers/fixtures.ts";
import { scratch } from "../../helpers/scratch.ts";

/** With biases that are not zero, and MTP. */
const { hf } = fixture("glm4_moe/megatron");

const target = () => join(scratch(), "out");
const refusalOf = (options: Parameters<typeof converted>[2]): Promise<InputError> =>
  converted(hf, target(), options).then(
    () => expect.unreachable(),
    (error: InputError) => error,
  );

describe("files that hold more than the default target", () => {
  it("are opened whole, and come back through the table that opened them", async () => {
    const checkpoint = openCheckpoint(hf);
    try {
      const model = openModel(checkpoint, { adapters });
      expect(model).toMatchObject({ adapter: { family: "glm4_moe" }, layout: { name: "hf" } });
      expect(await roundtrip(model)).toMatchObject({ verdict: "pass", via: "vllm", dropped: [] });
      await expect(roundtrip(model, { to: "torchtitan" })).rejects.toMatchObject({ code: "UNKNOWN_TENSOR" });
    } finally {
      checkpoint.close();
    }
  });

  it("come back with their biases where transformers saved them, without that layer", async () => {
    const state = [...readState(hf)].filter(([key]) => !key.startsWith("model.layers.2."));
    const files = writeSafetensors(join(scratch(), "files"), new Map(state), { config: join(hf, "config.json") });
    const found = await opened(files, (one) => roundtrip(openModel(one, { adapters })));
    expect(found).toMatchObject({ verdict: "pass", via: "vllm", dropped: [] });
  });

  it("are refused without --to, by the names of the tensors and with ways out", async () => {
    const mtp = await refusalOf({});
    expect(mtp).toMatchObject({ code: "UNKNOWN_TENSOR" });
    expect(mtp.message).toMatch(
      /"model\.layers\.2\..*torchtitan's transformers backend has no place for; and \d+ more/s,
    );
    expect(mtp.details.help).toBe(
      "--to megatron or --to vllm keeps them; or convert without it: --allow-drop 'model.layers.2.*'",
    );
    const biases = await refusalOf({ allowDrop: ["model.layers.2.*"] });
    expect(biases).toMatchObject({
      code: "DROP_NOT_DEFAULT",
      details: { tensor: "model.layers.0.self_attn.k_proj.bias" },
    });
    expect(biases.details.help).toBe(
      "--to megatron or --to vllm keeps them; if their values may be lost, --allow-drop '*_proj.bias'",
    );
  });

  it.each([
    [{ to: "megatron" }, "megatron"],
    [{ to: "vllm" }, "vllm"],
    [{ allowDrop: ["model.layers.2.*", "*_proj.bias"] }, "torchtitan"],
  ])("the ways out work: %o", async (options, to) => {
    const report = await converted(hf, target(), options);
    expect(report).toMatchObject({ verdict: "pass", to: { layout: to } });
    expect(report.waived.length > 0).toBe("allowDrop" in options);
  });

  it("files that it holds go to it", () => {
    const checkpoint = openCheckpoint(fixture("glm4_moe/groups").hf);
    try {
      expect(planConversion(checkpoint, target(), { adapters }).to.name).toBe("torchtitan");
    } finally {
      checkpoint.close();
    }
  });
});
