import type { ReportDocument } from "./document.ts";
import { visibleJson } from "./escape.ts";

/** The result with nothing left out. */
export const renderJson = ({ data }: Pick<ReportDocument, "data">): string =>
  `${visibleJson(JSON.stringify(data, null, 2))}\n`;
