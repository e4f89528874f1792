// Python code of a model's own, which transformers loads with `trust_remote_code`: config files name it, and it names more.
import { isJsonObject, parseJson } from "../base/json.ts";
import { readBytes } from "../formats/io/byte-source.ts";
import { CONFIG_LIMIT, type Folder } from "../formats/io/folder.ts";

export interface CustomCode {
  /** Files of the folder that are needed, sorted. */
  readonly files: readonly string[];
  /** Modules that a config names and the folder lacks. */
  readonly missing: readonly { readonly file: string; readonly namedBy: string }[];
}

/** Configs of models, tokenizers, processors, image processors. */
const MAY_NAME_CODE = /(?:^|_)config\.json$/;

/** @param names of what is directly in the folder */
export function customCodeIn(folder: Folder, names: readonly string[]): CustomCode {
  const isFile = (name: string) => folder.kind(name) === "file";
  const files = new Set<string>();
  const missing = new Map<string, string>();
  for (const config of names.filter((name) => MAY_NAME_CODE.test(name) && isFile(name))) {
    for (const module of modulesNamedBy(smallText(folder, config))) {
      const file = `${module}.py`;
      if (isFile(file)) files.add(file);
      else if (!missing.has(file)) missing.set(file, config);
    }
  }
  // A set is walked to its end, with what is added on the way.
  for (const file of files) {
    for (const path of importsOf(smallText(folder, file)).filter(isFile)) files.add(path);
  }
  return { files: [...files].sort(), missing: [...missing].map(([file, namedBy]) => ({ file, namedBy })) };
}

/** Empty for what is larger than any config or module: nothing is looked for there. */
function smallText(folder: Folder, name: string): string {
  const file = folder.open(name);
  try {
    if (file.byteLength > CONFIG_LIMIT) return "";
    return new TextDecoder().decode(readBytes(file, 0, file.byteLength));
  } finally {
    file.close();
  }
}

/** `module.Class`; `repository--module.Class` is code of another repository, which transformers fetches there. */
const CLASS = /^([A-Za-z_]\w*)\.[A-Za-z_]\w*$/;

/** Of `auto_map`, wherever it stands in a config, and of `custom_pipelines`. */
function modulesNamedBy(text: string): string[] {
  let json: unknown;
  try {
    json = parseJson(text);
  } catch {
    return []; // whoever reads the config says what is wrong with it
  }
  const modules = new Set<string>();
  const walk = (value: unknown, isMap: boolean): void => {
    if (typeof value === "string" && isMap) {
      const module = CLASS.exec(value)?.[1];
      if (module !== undefined) modules.add(module);
    } else if (Array.isArray(value)) for (const each of value) walk(each, isMap);
    else if (isJsonObject(value)) {
      for (const [key, each] of Object.entries(value))
        walk(each, isMap || key === "auto_map" || key === "custom_pipelines");
    }
  };
  walk(json, false);
  return [...modules];
}

const FROM = /^[ \t]*from[ \t]+\.([A-Za-z_][\w.]*)?[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)/gm;
const IMPORT = /^[ \t]*import[ \t]+\.([A-Za-z_]\w*)/gm;

/** Paths that relative imports may mean: `from .a import x`, `from .a.b import x`, `from . import a, b`, `import .a`. */
function importsOf(python: string): string[] {
  const modules = [...python.matchAll(IMPORT)].map(([, module = ""]) => module);
  for (const [, module, names = ""] of python.matchAll(FROM)) {
    const imported = [...names.replace(/#[^\n]*/g, "").matchAll(/([A-Za-z_]\w*)(?:\s+as\s+\w+)?/g)].map(
      ([, name = ""]) => name,
    );
    const before = module === undefined ? "" : `${module}.`;
    if (module !== undefined) modules.push(module);
    modules.push(...imported.map((name) => before + name));
  }
  return modules.flatMap(pathsOf);
}

/** A module, and the packages that it is in. */
function pathsOf(module: string): string[] {
  const parts = module.split(".").filter((part) => part !== "");
  return parts.flatMap((_, i) => {
    const path = parts.slice(0, i + 1).join("/");
    return [`${path}.py`, `${path}/__init__.py`];
  });
}
