// `hf://owner/name[@revision][/folder or file]`, as the Hub's own clients write it.
import { InputError } from "../base/errors.ts";

export interface HubAddress {
  readonly type: "model" | "dataset";
  /** `owner/name`. */
  readonly repository: string;
  /** Branch, tag, `refs/pr/N` or commit; null where none is named. */
  readonly revision: string | null;
  /** In the repository, with `/` between its parts; empty for all of it. */
  readonly path: string;
}

export const HUB_SCHEME = "hf";

const PREFIX = /^hf:\/\//i;
const NAME = "[\\w.-]+";
/** Slashes of a revision are written %2F, but for those of these. */
const SPECIAL = "refs/(?:pr/\\d+|convert/[\\w.-]+)";
const ADDRESS = new RegExp(
  `^(?:(?<type>models|datasets)/)?(?<repository>${NAME}/${NAME})(?:@(?<revision>${SPECIAL}(?=/|$)|[^/]+))?(?:/(?<path>.*))?$`,
);
const OTHER_TYPES = /^(spaces|kernels|buckets)\//;

/** Throws InputError HUB_ADDRESS. */
export function parseHubAddress(text: string): HubAddress {
  const rest = text.replace(PREFIX, "").replace(/\/+$/, "");
  const other = OTHER_TYPES.exec(rest)?.[1];
  if (other !== undefined) throw malformed(text, `an address in ${other}`);
  const { type, repository, revision, path = "" } = ADDRESS.exec(rest)?.groups ?? {};
  if (repository === undefined) throw malformed(text, "another form");
  const parts = path === "" ? [] : path.split("/");
  if ([...repository.split("/"), ...parts].some((part) => part === "" || part === "." || part === "..")) {
    throw malformed(text, "an empty part, or one of dots");
  }
  return {
    type: type === "datasets" ? "dataset" : "model",
    repository,
    revision: revision === undefined ? null : decoded(revision, text),
    path: parts.join("/"),
  };
}

/** The address of what a path leads to; the type is written where it is no model. */
export function hubAddressOf({ type, repository, revision, path }: HubAddress): string {
  const special = new RegExp(`^${SPECIAL}$`);
  const at = revision === null ? "" : `@${special.test(revision) ? revision : encodeURIComponent(revision)}`;
  return `hf://${type === "dataset" ? "datasets/" : ""}${repository}${at}${path === "" ? "" : `/${path}`}`;
}

function decoded(revision: string, text: string): string {
  try {
    return decodeURIComponent(revision);
  } catch {
    throw malformed(text, "a revision that is not encoded as in addresses");
  }
}

const malformed = (text: string, found: string): InputError =>
  new InputError("HUB_ADDRESS", `${text}: not the address of a model on the Hub`, {
    file: text,
    expected: "hf://owner/name, hf://owner/name@revision or hf://owner/name/folder",
    found,
    help: "write it as hf://owner/name; a slash in the name of a branch is written %2F",
  });
