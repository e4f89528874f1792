// Checkpoints of a multimodal config that hold the text alone.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { adapters } from "../../adapters/registry.ts";
import { InputError } from "../../src/base/errors.ts";
import { openModel } from "../../src/model/model.ts";
import { openCheckpoint } from "../../src/model/open.ts";
import { diff } from "../../src/verify/diff.ts";
import { inspect } from "../../src/verify/inspect.ts";
import { validate } from "../../src/verify/validate.ts";
import { opened, readState, writeDcp, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted } from "../helpers/converted.ts";
import { fixture } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const whole = fixture("qwen3_vl/tied");
const config = join(whole.hf, "config.json");
const MESSAGE =
  /^the vision tower is absent as a whole: 57 tensors, from "(model\.visual|vision_encoder)\.patch_embed\./;

const textOf = (folder: string) =>
  new Map([...readState(folder)].filter(([key]) => !/^(model\.visual|vision_encoder)\./.test(key)));
const textOnly = {
  hf: () => writeSafetensors(join(scratch(), "text"), textOf(whole.hf), { config }),
  native: () => writeDcp(join(scratch(), "text"), textOf(whole.native), { config }),
};

describe.each(Object.entries(textOnly))("%s", (layout, write) => {
  test("a conversion is refused: the tower is absent", async () => {
    const failure = await converted(write(), join(scratch(), "target")).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(InputError);
    expect(failure).toMatchObject({ code: "MISSING_TOWER", message: expect.stringMatching(MESSAGE) });
  });

  test("validate has one finding, and still reads the text", async () => {
    const { verdict, differences } = await opened(write(), (checkpoint) =>
      validate(openModel(checkpoint, { adapters })),
    );
    expect(verdict).toBe("fail");
    expect(differences).toEqual([
      { key: expect.stringMatching(/patch_embed/), kind: "missing", detail: expect.stringMatching(MESSAGE) },
    ]);
  });

  test("inspect recognises the model and names the problem", () => {
    const { family, layout: found, problems } = inspect(openCheckpoint(write()), { adapters });
    expect([family, found]).toEqual(["qwen3_vl", layout === "hf" ? "hf" : "torchtitan"]);
    expect(problems).toEqual([
      expect.objectContaining({ code: "MISSING_TOWER", message: expect.stringMatching(MESSAGE) }),
    ]);
  });

  test("diff compares the text, and says of every other tensor that it is missing", async () => {
    const other = layout === "hf" ? whole.native : whole.hf;
    const { differences } = await opened(other, (a) =>
      opened(write(), (b) => diff(a, b, { a: { adapters, config }, b: { adapters } })),
    );
    expect(new Set(differences.map(({ kind }) => kind))).toEqual(new Set(["missing"]));
    expect(differences.every(({ key }) => key.startsWith("model.visual."))).toBe(true);
    expect(differences).toHaveLength(57);
  });
});
