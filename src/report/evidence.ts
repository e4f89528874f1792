// The header as people read it: at the end of a page, and among the properties of a suite.
import type { Fact, Table } from "./document.ts";
import type { FileRead, Header } from "./header.ts";
import { formatBytes } from "./units.ts";

export const evidenceFacts = ({ tool, version, command, time, host, configs, inputs }: Header): Fact[] => [
  { label: "command", value: command },
  { label: "time", value: time },
  { label: "version", value: `${tool} ${version}, Node.js ${host.node}, ${host.platform}` },
  ...Object.entries(configs).map(([side, { path, sha256, mathematics }]) => ({
    label: `config of ${side}`,
    value: `${path}, sha256 ${sha256}${mathematics === null ? "" : `, mathematics ${mathematics}`}`,
  })),
  ...(inputs?.files ?? []).map(({ option, path, ...file }) => ({ label: option, value: `${path}, ${hashOf(file)}` })),
];

export const filesTable = ({ files }: Pick<Header, "files">): Table => ({
  title: "Files that were read",
  columns: [{ name: "path" }, { name: "bytes", align: "right" }, { name: "sha256" }],
  rows: files.map((file) => [file.path, formatBytes(file.bytes), hashOf(file, "")]),
});

const hashOf = ({ sha256, read, unhashed }: Omit<FileRead, "path" | "bytes">, before = "sha256 "): string =>
  sha256 !== null ? `${before}${sha256}` : read === "header" ? "headers alone were read" : `no hash: ${unhashed ?? ""}`;
