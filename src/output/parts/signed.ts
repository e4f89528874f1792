// Documents of parts end with the hash of their own text: a bit that changed on a disk or on the way leaves JSON that reads as well as
// before, and says something else.
import { createHash } from "node:crypto";

const END = /,"sha256":"([0-9a-f]{64})"\}\n$/;
const END_LENGTH = `,"sha256":"${"0".repeat(64)}"}\n`.length;

/** @param text of a JSON object that is not empty */
export function signed(text: string): string {
  const body = text.trimEnd();
  return `${body.slice(0, -1)},"sha256":"${hashOf(body)}"}\n`;
}

/** Whether a text is one that `signed` gave. */
export function isSigned(text: string): boolean {
  const [, sha256] = END.exec(text.slice(-END_LENGTH)) ?? [];
  return sha256 !== undefined && hashOf(`${text.slice(0, -END_LENGTH)}}`) === sha256;
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");
