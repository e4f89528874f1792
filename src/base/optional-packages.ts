// Packages that npm does not install with this one: each is for one thing, has binaries, and is larger than all the rest.
import { createRequire } from "node:module";
import { basename, dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** `peerDependencies` of package.json has their versions. */
export type OptionalPackage = "webgpu" | "onnxruntime-node" | "sharp";

const NAME = "convert-checkpoint";

/** What ONNX Runtime's install script would fetch on Linux is for CUDA; what is for CPUs is in its package. */
const ENVIRONMENT = {
  webgpu: "",
  "onnxruntime-node": process.platform === "linux" ? "ONNXRUNTIME_NODE_INSTALL=skip " : "",
  sharp: "",
} as const;

/** What loads one of them threw: it is not there at all, or it is there and does not load. */
export function isMissing(name: OptionalPackage, error: unknown): boolean {
  const { code, message = "" }: { code?: unknown; message?: string } = Object(error);
  const isNotFound = code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
  return isNotFound && new RegExp(`(package|module) '${name}'`).test(message);
}

/**
 * The command that installs it where this copy of ours looks for it.
 * @param beside a module of that copy
 */
export function installLine(name: OptionalPackage, beside: string = import.meta.url): string {
  const require = createRequire(beside);
  const home = folderOf(require, dirname(fileURLToPath(beside)));
  if (home === null) return `${ENVIRONMENT[name]}npm install ${name}`;
  const wanted = withRange(require, home, name);
  const modules = dirname(home);
  if (basename(modules) !== "node_modules") return `npm ci --prefix ${quoted(home)}`;
  const project = dirname(modules);
  if (modules.split(sep).includes(".pnpm")) return `pnpm add ${quoted(wanted)}`;
  const manifest = jsonOf(require, join(project, "package.json"));
  if (modules.split(sep).includes("_npx")) {
    return `${ENVIRONMENT[name]}npx --package ${quoted(calledAs(manifest))} --package ${quoted(wanted)} ${NAME} …`;
  }
  return `${ENVIRONMENT[name]}npm install ${manifest === null ? "--global" : `--prefix ${quoted(project)}`} ${quoted(wanted)}`;
}

/** Our own folder, at or above `folder`; null where the command was copied out of it. */
function folderOf(require: NodeJS.Require, folder: string): string | null {
  // The folder of the bundle has a manifest as well, which says its kind alone.
  if (Object(jsonOf(require, join(folder, "package.json"))).name === NAME) return folder;
  const above = dirname(folder);
  return above === folder ? null : folderOf(require, above);
}

function withRange(require: NodeJS.Require, home: string, name: OptionalPackage): string {
  const { peerDependencies } = require(join(home, "package.json"));
  return `${name}@${peerDependencies[name]}`;
}

/** Null where there is none: the folder of global packages has no manifest. */
function jsonOf(require: NodeJS.Require, path: string): unknown {
  try {
    return require(path);
  } catch {
    return null;
  }
}

/** What npx was asked for: a name, perhaps with its version, or the path of a tarball. */
function calledAs(manifest: unknown): string {
  const packages: unknown = Object(Object(manifest)._npx).packages;
  const own = Array.isArray(packages) ? packages.find((each) => String(each).includes(NAME)) : undefined;
  return typeof own === "string" ? own : NAME;
}

/** For a shell. */
const quoted = (word: string): string =>
  /[^\w@%+=:,./-]/.test(word) ? `'${word.replaceAll("'", String.raw`'\''`)}'` : word;
