// A text model under another name than the config's model has it: told for what it is.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { InputError } from "../../src/base/errors.ts";
import { readState, writeSafetensors } from "../helpers/checkpoints.ts";
import { converted, type Options } from "../helpers/converted.ts";
import { FIXTURES } from "../helpers/fixtures.ts";
import { scratch } from "../helpers/scratch.ts";

const source = `${FIXTURES}qwen3_5/dense/hf`;
const json = JSON.parse(readFileSync(join(source, "config.json"), "utf8"));

function place(config: object, rename: (key: string) => string = (key) => key): string {
  const state = new Map([...readState(source)].map(([key, stored]) => [rename(key), stored]));
  const folder = writeSafetensors(join(scratch(), "model"), state);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

const helpOf = (folder: string, options: Options = {}): Promise<string> =>
  converted(folder, join(scratch(), "out"), options).then(
    () => "no error",
    (error: unknown) => (error instanceof InputError ? error.details.help : String(error)),
  );

it.each(["language_model.model.", "model."])(
  "a text model under %s beside the config of a vision-language model",
  async (prefix) => {
    const help = await helpOf(place(json, (key) => key.replace("model.language_model.", prefix)));
    expect(help).toMatch(
      /its text model under "\S+", and a model of this config has it under "model\.language_model\."/,
    );
    expect(help).toMatch(/take the config that belongs to these keys, or rename them$/);
  },
);

it("a vision tower beside the config of a text model, and the way out works", async () => {
  const folder = place(json.text_config);
  expect(await helpOf(folder)).toMatch(/config is of a text model: .* --allow-drop 'model\.visual\.\*'$/);
  expect(await helpOf(folder, { allowDrop: ["model.visual.*"] })).toBe("no error");
});
