import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { kimiImageProcessor } from "../../../adapters/kimi_k2_7/processor.ts";
import type { ImageSteps } from "../../../src/family/processor.ts";
import { DiskFolder } from "../../../src/formats/io/disk-folder.ts";
import { imagePatches } from "../../../src/parity/images/patches.ts";
import { readSteps } from "../../../src/parity/images/steps.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "image-processor-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** preprocessor_config.json as Moonshot's own repositories have it. */
function moonshot(changes: Readonly<Record<string, unknown>>) {
  const media_proc_cfg = {
    in_patch_limit: 90,
    patch_size: 4,
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.5, 0.5, 0.5],
    merge_kernel_size: 2,
    fixed_output_tokens: null,
    patch_limit_on_one_side: 14,
    in_patch_limit_each_frame: 4096,
    sample_fps: 2,
    ...changes,
  };
  const auto_map = { AutoImageProcessor: "kimi_k25_vision_processing.KimiK25VisionProcessor" };
  writeFileSync(join(folder, "preprocessor_config.json"), JSON.stringify({ auto_map, media_proc_cfg }));
  return readSteps([new DiskFolder(folder)], kimiImageProcessor);
}

const SIZES = [1, 3, 40, 700, 20_000].flatMap((height) => [2, 90, 9000].map((width) => ({ height, width })));

/** As data, with what becomes of images of many sizes. */
const described = ({ resize, ...steps }: ImageSteps) => ({
  ...steps,
  filter: resize!.filter,
  sizes: SIZES.map((size) => resize!.sizeOf(size, "image.png")),
});

describe("media_proc_cfg", () => {
  const { steps: native } = readSteps([new DiskFolder(`${FIXTURES}images/kimi_k25`)], kimiImageProcessor);

  test.each([
    ["as it is", {}],
    ["with a kernel of two sides", { merge_kernel_size: [2, 2] }],
  ])("%s says what the class of transformers is told", (_name, changes) => {
    const { file, steps } = moonshot(changes);
    expect(described(steps)).toEqual(described(native));
    expect(file).toBe(join(folder, "preprocessor_config.json"));
  });

  test("without limits has those of the class", () => {
    const limits = { in_patch_limit: undefined, patch_limit_on_one_side: undefined };
    const { sizeOf } = moonshot(limits).steps.resize!;
    // Patches of 4 by 4: 512 of them on a side, 128² in all.
    expect(sizeOf({ height: 4, width: 9000 }, "line.png").resized).toEqual({ height: 1, width: 2048 });
    expect(sizeOf({ height: 2000, width: 2000 }, "square.png").resized).toEqual({ height: 512, width: 512 });
  });

  test("its limits change the grid", async () => {
    const grid = async (changes: object) =>
      (await imagePatches([`${FIXTURES}images/wide.png`], moonshot({ ...changes }))).grids[0];
    expect(await grid({ in_patch_limit: 16384 })).not.toEqual(await grid({}));
    expect(await grid({ patch_limit_on_one_side: 6 })).not.toEqual(await grid({}));
  });

  test.each([
    [{ fixed_output_tokens: 64 }, '"media_proc_cfg.fixed_output_tokens" is 64'],
    [{ patch_size: "14" }, '"media_proc_cfg.patch_size" is "14"'],
    [{ in_patch_limit: 0 }, "is 0"],
    [{ merge_kernel_size: [] }, '"media_proc_cfg.merge_kernel_size" is []'],
    [{ merge_kernel_size: 1.5 }, "is 1.5"],
    [{ merge_kernel_size: [2, 3] }, "merge_kernel_size"],
  ])("%j is refused", (changes, message) => {
    expect(() => moonshot(changes)).toThrow(
      expect.objectContaining({ code: "PROCESSOR_INVALID", exitCode: 3, message: expect.stringContaining(message) }),
    );
  });
});
