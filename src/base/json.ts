/** What a JSON object parses to. */
export type JsonObject = { readonly [key: string]: unknown };
