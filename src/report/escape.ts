// Names and texts from files may hold characters that a terminal or a browser obeys instead of showing. Escape
// sequences move the cursor, a newline forges a line of output, direction marks reverse the text that follows. Reports
// spell such characters out.

/** What JSON.stringify leaves as it is: DEL and C1, line and paragraph separators, marks of direction (UAX #9). */
const BEYOND_JSON = "\\u007f-\\u009f\\u2028\\u2029\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069";
const C0 = "\\u0000-\\u001f";

const OBEYED = new RegExp(`[${C0}${BEYOND_JSON}]`, "g");
const OBEYED_IN_LINES = new RegExp(`(?!\\n)[${C0}${BEYOND_JSON}]`, "g");
const OBEYED_IN_JSON = new RegExp(`[${BEYOND_JSON}]`, "g");

const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
const spelled = (c: string): string => SHORT[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** One line of text: U+001B comes out as `\u001b`, a newline as `\n`. */
export const visible = (text: string): string => text.replace(OBEYED, spelled);

/** Text of several lines, such as a stack trace. */
export const visibleLines = (text: string): string => text.replace(OBEYED_IN_LINES, spelled);

/** A JSON text that means the same, and is safe to print. */
export const visibleJson = (json: string): string => json.replace(OBEYED_IN_JSON, spelled);
