import { wholePath } from "../base/addresses.ts";
import { isJsonObject } from "../base/json.ts";
import type { ReportDocument } from "./document.ts";
import { visibleJson } from "./escape.ts";
import type { FileRead, Header } from "./header.ts";

type Rendered = Pick<ReportDocument, "data" | "header" | "checks">;

/** The result with nothing left out, its checks, and the header. */
export const renderJson = (document: Rendered): string => `${visibleJson(JSON.stringify(jsonOf(document), null, 2))}\n`;

/** Of the header, what is short stands first. Fields that the result has, too, are both in one. */
function jsonOf({ data, header, checks }: Rendered): object {
  const own: Readonly<Record<string, unknown>> = { checks, ...data };
  if (header === undefined) return own;
  const { inputs, files, configs, ...first } = header;
  return {
    ...first,
    ...own,
    inputs: inputsOf(own.inputs, inputs),
    ...filesOf(own, files),
    configs: configsOf(own, configs),
  };
}

function inputsOf(own: unknown, inputs: Header["inputs"]): object | null {
  return isJsonObject(own) ? { ...own, files: inputs?.files ?? [] } : inputs;
}

/** A config by the side that it is of: what the result says of it, and its hashes. */
function configsOf(own: Readonly<Record<string, unknown>>, configs: Header["configs"]): object {
  const said = isJsonObject(own.configs) ? own.configs : {};
  const joined = Object.entries(configs).map(([side, config]) => {
    const more = said[side];
    return [side, isJsonObject(more) ? { ...config, ...more } : config];
  });
  return { ...said, ...Object.fromEntries(joined) };
}

/** `filesRead` where the result's `files` are others: those that were written, or came back. */
function filesOf({ files: own }: Readonly<Record<string, unknown>>, read: readonly FileRead[]): object {
  if (!Array.isArray(own)) return { files: read };
  const hashes = new Map(read.map(({ path, sha256 }) => [path, sha256]));
  const files = own.map((each: unknown) => {
    const sha256 = isJsonObject(each) && typeof each.path === "string" ? hashes.get(wholePath(each.path)) : undefined;
    return sha256 === undefined || !isJsonObject(each) ? each : { ...each, sha256 };
  });
  return { files, filesRead: read };
}
