// A report that is given with --evidence: read, and bound to the files that are pushed. Words alone are no evidence.
import { createHash } from "node:crypto";
import { InputError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject, parseJson } from "../../base/json.ts";
import { locate, type PathOrLocation } from "../../formats/io/disk-folder.ts";
import { has, readText } from "../../formats/io/folder.ts";
import { type Run, runsOf } from "./run.ts";

/** A report of a large model has some hundred bytes a tensor. */
const REPORT_LIMIT = 1 << 28;

/** A file that a run read or wrote, by its content. */
interface Content {
  readonly name: string;
  readonly sha256: string;
}

export interface Report {
  /** As the user gave it. */
  readonly path: string;
  /** Of the report's own bytes; null of one that was not written. */
  readonly sha256: string | null;
  readonly version: string;
  readonly command: string;
  readonly time: string;
  readonly runs: readonly Run[];
  /** What it read. */
  readonly read: readonly Content[];
  /** What it wrote. */
  readonly written: readonly Content[];
  /** The document itself. */
  readonly json: JsonObject;
}

/** Throws InputError EVIDENCE_MALFORMED, NOT_FOUND and what reading throws. */
export function readReport(at: PathOrLocation): Report {
  const { path, folder, file } = locate(at);
  if (file === null || !has(folder, file)) {
    throw new InputError("NOT_FOUND", `${path}: no such report`, {
      file: path,
      expected: "a file that --report FILE.json or --json wrote",
      found: file === null ? "a directory" : "nothing of that name",
      help: "write one: convert-checkpoint check SOURCE TARGET --report check.json",
    });
  }
  const text = readText(folder, file, REPORT_LIMIT, path);
  return parseReport(text, path);
}

/** @param path for messages */
export function parseReport(text: string, path: string): Report {
  const json = objectIn(text, path);
  const { tool, version, command, time, verdict } = json;
  if (tool !== "convert-checkpoint" || [version, command, time].some((each) => typeof each !== "string")) {
    const found = typeof tool === "string" ? `"tool": ${JSON.stringify(tool)}` : "no header of ours";
    throw malformed(path, "it is no report of this tool", found);
  }
  const runs = runsOf(json);
  if (runs === null || runs.length === 0 || (verdict !== "pass" && verdict !== "fail")) {
    throw malformed(path, "it shows nothing about a model", `"command": ${JSON.stringify(command)}`);
  }
  const isConversion = runs.some(({ name }) => name === "convert");
  return {
    path,
    sha256: createHash("sha256").update(text, "utf8").digest("hex"),
    version: String(version),
    command: String(command),
    time: String(time),
    runs,
    read: [...contentsIn(json.filesRead), ...(isConversion ? [] : contentsIn(json.files))],
    written: isConversion ? contentsIn(json.files) : [],
    json,
  };
}

function objectIn(text: string, path: string): JsonObject {
  try {
    const json = parseJson(text);
    if (isJsonObject(json)) return json;
  } catch (cause) {
    throw malformed(path, "it is not JSON", text.trimStart().slice(0, 40), cause);
  }
  throw malformed(path, "it is no JSON object", text.trimStart().slice(0, 40));
}

function contentsIn(value: unknown): Content[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isJsonObject).flatMap(({ path, name, sha256 }) => {
    const called = typeof path === "string" ? path : name;
    return typeof called === "string" && typeof sha256 === "string" ? [{ name: called, sha256 }] : [];
  });
}

const malformed = (file: string, problem: string, found: string, cause?: unknown): InputError =>
  new InputError("EVIDENCE_MALFORMED", `${file}: no evidence: ${problem}`, {
    file,
    expected: "the JSON report of convert, check, gate, parity, diff, roundtrip, validate, match or seal",
    found,
    help: "give the file that --report FILE.json wrote, or leave it out",
    cause,
  });
