// What is told to somebody who lacks an optional package installs it where that copy of the command looks for it.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { installLine, isMissing } from "../../src/base/optional-packages.ts";
import { scratch } from "../helpers/scratch.ts";

const manifest = {
  name: "convert-checkpoint",
  exports: { "./package.json": "./package.json" },
  peerDependencies: { webgpu: "^0.6.2", sharp: "1" },
};

function write(path: string, content: object): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, JSON.stringify(content));
}

/** The package in that folder. @returns a module of it */
function copyIn(folder: string): string {
  write(join(folder, "package.json"), manifest);
  return pathToFileURL(join(folder, "dist/bin/convert-checkpoint.js")).href;
}

describe("the line that installs", () => {
  const wanted = "'webgpu@^0.6.2'";
  test("into a project that has the command", () => {
    const project = scratch();
    write(join(project, "package.json"), {});
    const copy = copyIn(join(project, "node_modules/convert-checkpoint"));
    expect(installLine("webgpu", copy)).toBe(`npm install --prefix ${project} ${wanted}`);
    expect(installLine("sharp", copy)).toBe(`npm install --prefix ${project} sharp@1`);
  });

  test("into a folder whose name a shell would take apart", () => {
    const project = join(scratch(), "it's a place");
    write(join(project, "package.json"), {});
    const copy = copyIn(join(project, "node_modules/convert-checkpoint"));
    expect(installLine("webgpu", copy)).toContain(String.raw`it'\''s a place' 'webgpu@`);
  });

  test("beside a global command", () => {
    const copy = copyIn(join(scratch(), "lib/node_modules/convert-checkpoint"));
    expect(installLine("webgpu", copy)).toBe(`npm install --global ${wanted}`);
  });

  test("into a clone", () => {
    const clone = scratch();
    expect(installLine("webgpu", copyIn(clone))).toBe(`npm ci --prefix ${clone}`);
    const own = dirname(fileURLToPath(new URL("../../package.json", import.meta.url)));
    expect(installLine("webgpu")).toBe(`npm ci --prefix ${own}`);
  });

  test.each([
    [
      "a name",
      ["convert-checkpoint"],
      "npx --package convert-checkpoint --package 'webgpu@^0.6.2' convert-checkpoint …",
    ],
    [
      "a tarball",
      ["/t/convert-checkpoint-0.1.0.tgz"],
      "npx --package /t/convert-checkpoint-0.1.0.tgz --package 'webgpu@^0.6.2' convert-checkpoint …",
    ],
    [
      "nothing that is known",
      undefined,
      "npx --package convert-checkpoint --package 'webgpu@^0.6.2' convert-checkpoint …",
    ],
  ])("of npx, called with %s", (_, packages, line) => {
    const cache = join(scratch(), "_npx/2864c4dcca88aa47");
    write(join(cache, "package.json"), { _npx: { packages } });
    expect(installLine("webgpu", copyIn(join(cache, "node_modules/convert-checkpoint")))).toBe(line);
  });

  test("by pnpm", () => {
    const copy = copyIn(join(scratch(), "node_modules/.pnpm/convert-checkpoint@0.1.0/node_modules/convert-checkpoint"));
    expect(installLine("webgpu", copy)).toBe(`pnpm add ${wanted}`);
  });

  test("of a command that was copied out of its package", () => {
    const alone = pathToFileURL(join(scratch(), "convert-checkpoint.js")).href;
    expect(installLine("webgpu", alone)).toBe("npm install webgpu");
    if (process.platform === "linux")
      expect(installLine("onnxruntime-node", alone)).toBe("ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node");
  });
});

test("not installed is told from not loadable", async () => {
  const thrown = async (name: string) =>
    import(name).then(
      () => null,
      (error: unknown) => error,
    );
  const absent = Object.assign(new Error("Cannot find package 'webgpu' imported from /x.js"), {
    code: "ERR_MODULE_NOT_FOUND",
  });
  expect(isMissing("webgpu", absent)).toBe(true);
  expect(isMissing("sharp", absent)).toBe(false);
  const broken = Object.assign(new Error("Cannot find module '/m/webgpu/dist/x.node'"), {
    code: "ERR_MODULE_NOT_FOUND",
  });
  expect(isMissing("webgpu", broken)).toBe(false);
  expect(isMissing("webgpu", await thrown("data:text/javascript,throw new Error('no library')"))).toBe(false);
});
