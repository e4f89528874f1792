// Our section of a model card: what stands between two markers is ours, everything else is the owner's.
import { InputError } from "../../base/errors.ts";

export const CARD_NAME = "README.md";

const BEGIN = "<!-- convert-checkpoint: begin. Each push writes this section anew, and nothing outside of it -->";
const END = "<!-- convert-checkpoint: end -->";
const BEGIN_LINE = /^<!-- convert-checkpoint: begin\b.*-->[^\S\n]*$/gm;
const END_LINE = /^<!-- convert-checkpoint: end\b.*-->[^\S\n]*$/gm;

/** Where the section stands in a card, markers and all. */
interface Place {
  readonly begin: number;
  readonly end: number;
}

/**
 * The card with this section in place of the one that it has, else at its end; front matter and other sections stay as they are.
 * Throws InputError CARD_MARKERS.
 *
 * @param shown what messages call the card
 */
export function withSection(card: string, section: string, shown: string): string {
  const place = placeOf(card, shown);
  const marked = `${BEGIN}\n\n${section.trim()}\n\n${END}`;
  const own = card.includes("\r\n") ? marked.replaceAll("\n", "\r\n") : marked;
  const [newline] = /\r?\n/.exec(own) ?? ["\n"];
  if (place !== null) return card.slice(0, place.begin) + own + card.slice(place.end);
  if (card.trim() === "") return `${card}${own}${newline}`;
  return `${card.trimEnd()}${newline}${newline}${own}${newline}`;
}

export const hasSection = (card: string, shown: string): boolean => placeOf(card, shown) !== null;

/** What is the owner's: equal for cards that differ in our section alone. Throws InputError CARD_MARKERS. */
export function withoutSection(card: string, shown: string): string {
  const place = placeOf(card, shown);
  const rest = place === null ? card : card.slice(0, place.begin) + card.slice(place.end);
  return rest.replaceAll("\r\n", "\n").trimEnd();
}

function placeOf(card: string, shown: string): Place | null {
  const [begins, ends] = [BEGIN_LINE, END_LINE].map((line) => [...card.matchAll(line)]);
  const [begin, end] = [begins?.[0], ends?.[0]];
  if (begin === undefined && end === undefined) return null;
  const isPair = begins?.length === 1 && ends?.length === 1 && begin !== undefined && end !== undefined;
  if (isPair && begin.index < end.index) {
    // A line may end in CRLF: the carriage return is no part of the marker.
    return { begin: begin.index, end: end.index + end[0].trimEnd().length };
  }
  throw new InputError("CARD_MARKERS", `${shown}: the markers of our section are no pair`, {
    file: shown,
    expected: "one line that begins our section, and below it one that ends it",
    found: `${begins?.length ?? 0} that begin it, ${ends?.length ?? 0} that end it`,
    help: `leave one pair of the lines "<!-- convert-checkpoint: begin … -->" and "${END}", or remove them all`,
  });
}

export interface NewCard {
  readonly title: string;
  /** Repository of the model that this one was made of; null where it is none of the Hub's. */
  readonly baseModel: string | null;
  readonly isTransformers: boolean;
}

/** A card for a repository that has none. It names no licence: that is the owner's to say. */
export function newCard({ title, baseModel, isTransformers }: NewCard): string {
  const head = [
    ...(isTransformers ? ["library_name: transformers"] : []),
    ...(baseModel === null ? [] : [`base_model: ${baseModel}`]),
  ];
  return [...(head.length === 0 ? [] : ["---", ...head, "---", ""]), `# ${title}`, ""].join("\n");
}
