// What lies beside the weights of a model, and what of it goes along with them.
import {
  CONFIG_NAMES,
  isCompanion,
  isDocument,
  isTokenizer,
  RECORD_NAME,
  TEMPLATES_FOLDER,
} from "../formats/file-names.ts";
import { CONFIG_LIMIT, type FileIn, type Folder, has } from "../formats/io/folder.ts";
import { refuseOutside } from "../formats/io/links.ts";
import { SCALES_NAME } from "../formats/safetensors/locate.ts";
import { type CustomCode, customCodeIn } from "./custom-code.ts";

export interface SideFiles {
  /** In the order of their names. */
  readonly along: readonly FileIn[];
  /** Names of what is beside the weights and stays there; folders end in a slash. */
  readonly leftBehind: readonly string[];
  /** What a reader of the copy lacks or has to look at, in words. */
  readonly notes: readonly string[];
}

/**
 * Of a checkpoint's own folder, and from that of the config given what the first one lacks.
 * Throws InputError LINK_OUTSIDE, and what opening a file throws.
 *
 * @param own the checkpoint's folder, and the names in it that are read as weights
 * @param given the config's folder; null where there is no config
 */
export function sideFilesOf(own: Folder, weights: readonly string[], given: Folder | null): SideFiles {
  const found = new Map<string, FileIn>();
  const missing: CustomCode["missing"][number][] = [];
  const folders = given === null || given.path === own.path ? [own] : [own, given];
  for (const folder of folders) {
    const { names, code } = goesAlong(folder);
    missing.push(...code.missing);
    for (const name of names) if (!found.has(name)) found.set(name, { folder, name });
  }
  for (const file of found.values()) refuseOutside(file);
  const along = [...found.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const takenFrom = (from: Folder) => along.flatMap(({ folder, name }) => (folder === from ? [name] : []));
  const leftBehind = restOf(own, [...weights, ...along.map(({ name }) => name)]).flatMap((name) =>
    // The config's folder may lie in the checkpoint's.
    given !== null && given.path === own.pathOf(name.replace(/\/$/, ""))
      ? restOf(given, takenFrom(given)).map((child) => name + child)
      : [name],
  );
  const cards = along.filter(({ folder, name }) => folder !== own && CARD.test(name));
  return {
    along,
    leftBehind,
    notes: [
      ...(leftBehind.length === 0 ? [] : [`left beside the source: ${firstNames(leftBehind)}`]),
      ...new Set(missing.filter(({ file }) => !found.has(file)).map(missingCode)),
      ...cards.map(
        ({ name }) => `${name} is the model card beside the config: it tells of the model that it came with`,
      ),
    ],
  };
}

/** In words. */
export const missingCode = ({ file, namedBy }: CustomCode["missing"][number]): string =>
  `${namedBy} names ${file} in auto_map, and there is no such file: loading with trust_remote_code=True fails`;

const CARD = /^readme\b/i;

export const hasTokenizer = (files: readonly FileIn[]): boolean => files.some(({ name }) => isTokenizer(name));

const configNameIn = (folder: Folder): string | undefined => CONFIG_NAMES.find((name) => has(folder, name));

/** A folder without a config is no model's: its README and licence may be those of a program. */
function goesAlong(folder: Folder): { readonly names: readonly string[]; readonly code: CustomCode } {
  const names = folder.list();
  const isFile = (name: string) => folder.kind(name) !== "folder";
  const code = customCodeIn(folder, names);
  const templates = folder.kind(TEMPLATES_FOLDER) === "folder" ? folder.folder(TEMPLATES_FOLDER).list() : [];
  const companions = [...names, ...templates.map((name) => `${TEMPLATES_FOLDER}/${name}`)].filter(isCompanion);
  const documents = configNameIn(folder) === undefined ? [] : names.filter(isDocument);
  const texts = [...documents, ...code.files].filter((name) => isFile(name) && isSmall(folder, name));
  return { names: [...companions.filter(isFile), ...texts], code };
}

/** No text is larger: what is, is something else. */
function isSmall(folder: Folder, name: string): boolean {
  const file = folder.open(name);
  file.close();
  return file.byteLength <= CONFIG_LIMIT;
}

/** What is neither named here nor the config or a record of ours. */
function restOf(folder: Folder, taken: readonly string[]): string[] {
  const config = configNameIn(folder);
  const known = new Set([...taken, RECORD_NAME, SCALES_NAME, ...(config === undefined ? [] : [config])]);
  const inside = new Set(taken.map((name) => name.split("/", 1)[0]));
  return folder.list().flatMap((name) => {
    if (known.has(name)) return [];
    if (folder.kind(name) !== "folder") return [name];
    if (!inside.has(name)) return [`${name}/`];
    const rest = folder.folder(name).list();
    return rest.map((child) => `${name}/${child}`).filter((child) => !known.has(child));
  });
}

const NAMES_SHOWN = 8;

function firstNames(names: readonly string[]): string {
  const more = names.length - NAMES_SHOWN;
  return names.slice(0, NAMES_SHOWN).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
