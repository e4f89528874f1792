// Parts of a conversion from the Hub: machines share nothing but the target's folder, and each asks the Hub itself.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { run } from "../../cli/command.ts";
import { FIXTURES } from "../../helpers/fixtures.ts";
import { hubEnvironment } from "../../helpers/hub/environment.ts";
import { filesOf } from "../../helpers/hub/files.ts";
import { Hub } from "../../helpers/hub/start.ts";
import { filesOf as filesAt } from "../../helpers/parted.ts";
import { scratch } from "../../helpers/scratch.ts";

const HF = join(FIXTURES, "demo/hf");
let hub: Hub;
let commit: string;

beforeAll(async () => {
  hub = await Hub.start();
  commit = await hub.put("acme/demo", filesOf(HF));
});
afterAll(() => hub.stop());

/** As a machine that has asked the Hub for nothing yet. */
const newMachine = () => hubEnvironment({ HF_ENDPOINT: hub.url, HF_HOME: scratch() });

test("a branch that moves between two parts makes another plan; a commit does not, and its parts are what one run writes", async () => {
  const folder = scratch();
  const target = join(folder, "parts");
  const part = (source: string, number: number) =>
    run("convert", source, target, "--part", `${number}/2`, "--no-fsync");
  newMachine();
  expect(await run("convert", "hf://acme/demo", join(folder, "one"), "--no-fsync")).toMatchObject({ code: 0 });
  newMachine();
  await hub.forget();
  expect(await part("hf://acme/demo", 1)).toMatchObject({ code: 0, stderr: "" });
  expect(await hub.bytes()).toBeLessThan(0.8 * readFileSync(join(HF, "model.safetensors")).length);
  await hub.put("acme/demo", { ...filesOf(HF), "README.md": Buffer.from("a word more") });
  newMachine();
  const refused = await part("hf://acme/demo", 2);
  expect(refused.code).toBe(3);
  expect(refused.stderr).toContain("error[PARTS_OF_ANOTHER_PLAN]");
  expect(refused.stderr).toContain(`source (hf://acme/demo@${commit} there, hf://acme/demo@`);
  newMachine();
  expect(await part(`hf://acme/demo@${commit}`, 2)).toMatchObject({ code: 0 });
  // The Hub is not asked.
  hubEnvironment({ HF_HUB_OFFLINE: "1" });
  expect(await run("finalize", target, "--no-fsync")).toMatchObject({ code: 0 });
  expect([...filesAt(target)]).toEqual([...filesAt(join(folder, "one"))]);
});
