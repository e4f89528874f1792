// config.json with other values in some fields, and every other byte as it was.
import { applyEdits, modify } from "jsonc-parser";
import type { JsonObject } from "../base/json.ts";
import { valueAt } from "../faults/kinds/config/field.ts";

/** @param fields paths of what differs in `config` */
export const configText = (text: string, config: JsonObject, fields: readonly string[]): string =>
  fields.reduce((now, path) => {
    const edits = modify(now, path.split("."), valueAt(config, path), {
      formattingOptions: { insertSpaces: true, tabSize: 2 },
    });
    return applyEdits(now, edits);
  }, text);
