// A DCP folder: its metadata, checked against the files that are there.
import { type Dtype, elementCount } from "../../base/dtype.ts";
import { type ByteSource, readBytes } from "../io/byte-source.ts";
import type { Folder, OpenFiles } from "../io/folder.ts";
import { refuse, type Where } from "../io/refuse.ts";
import { type DcpChunk, type DcpMetadata, type DcpTensor, type Payload, parseMetadata } from "./metadata.ts";
import { checkTiling } from "./tiling.ts";

export interface DcpFolder extends DcpMetadata {
  /** Every file that holds payloads, by its relative path. */
  readonly sources: ReadonlyMap<string, ByteSource>;
  /** Names of the files of metadata. */
  readonly metadataNames: readonly string[];
}

/** A million chunks, at some 200 bytes each. */
const METADATA_LIMIT = 1 << 28;

/**
 * Reads the metadata of a folder and proves that it is whole: every payload lies inside its file, no two share a byte,
 * and the chunks of every tensor cover it exactly once. Reads no payload.
 * @throws InputError
 */
export function readFolder(folder: Folder, files: OpenFiles): DcpFolder {
  const names = metadataNames(folder);
  const parts = names.map((name) => {
    const source = files.open(name, name);
    const where: Where = { file: name };
    if (source.byteLength > METADATA_LIMIT) {
      throw refuse(where, "DCP_METADATA_SIZE", "is larger than the metadata of any checkpoint", {
        expected: `at most ${METADATA_LIMIT} bytes`,
        found: `${source.byteLength} bytes`,
      });
    }
    return parseMetadata(readBytes(source, 0, source.byteLength), where);
  });
  const metadata = merge(parts, names);
  for (const [tensor, { dtype, shape, chunks }] of metadata.tensors) {
    const where: Where = { file: names[0]!, tensor };
    refuseUncountable(shape, dtype, where);
    checkTiling(shape, chunks, where);
  }
  const sources = checkPayloads(files, metadata);
  return { ...metadata, sources, metadataNames: names };
}

/** `.metadata`, or the `__R.metadata` of a save without collectives, in order of rank. */
function metadataNames(folder: Folder): string[] {
  const names = folder.list();
  if (names.includes(".metadata")) return [".metadata"];
  const rank = (name: string): number => Number(/^__(\d+)\.metadata$/.exec(name)?.[1] ?? Number.NaN);
  const ofRanks = names.filter((name) => !Number.isNaN(rank(name))).toSorted((a, b) => rank(a) - rank(b));
  if (ofRanks.length > 0) return ofRanks;
  const begun = names.find((name) => name === ".metadata.tmp" || name.endsWith(".distcp"));
  throw refuse({ file: folder.path }, "DCP_UNFINISHED", "has no .metadata: the save was not finished", {
    expected: ".metadata",
    found: begun ?? "nothing of torch.distributed.checkpoint",
    help: "use an earlier step; .metadata is written last, so that an unfinished save cannot be taken for a whole one",
  });
}

/** Ranks that saved without collectives know their own chunks only; replicated ones are in several files. */
function merge(parts: readonly DcpMetadata[], names: readonly string[]): DcpMetadata {
  if (parts.length === 1) return parts[0]!;
  const tensors = new Map<string, DcpTensor>();
  const bytes = new Map<string, Payload>();
  const paths = new Map<string, readonly (string | number)[]>();
  for (const [i, part] of parts.entries()) {
    for (const [name, tensor] of part.tensors) {
      const known = tensors.get(name);
      if (known !== undefined && (known.dtype !== tensor.dtype || `${known.shape}` !== `${tensor.shape}`)) {
        throw refuse(
          { file: names[i]!, tensor: name },
          "DCP_RANKS_DIFFER",
          "has another dtype or shape than on other ranks",
          {
            expected: `${known.dtype} [${known.shape}]`,
            found: `${tensor.dtype} [${tensor.shape}]`,
          },
        );
      }
      tensors.set(name, { ...tensor, chunks: withoutRepeats([...(known?.chunks ?? []), ...tensor.chunks]) });
    }
    for (const [name, payload] of part.bytes) if (!bytes.has(name)) bytes.set(name, payload);
    for (const [name, path] of part.paths) paths.set(name, path);
  }
  return { tensors, bytes, paths };
}

function withoutRepeats(chunks: readonly DcpChunk[]): DcpChunk[] {
  return [
    ...new Map(chunks.toReversed().map((chunk) => [`${chunk.offsets}:${chunk.sizes}`, chunk])).values(),
  ].toReversed();
}

function refuseUncountable(shape: readonly number[], dtype: Dtype, where: Where): void {
  if (shape.includes(0) || Number.isSafeInteger(elementCount(shape) * 16)) return;
  throw refuse(where, "DCP_SHAPE", "has more elements than can be counted", { found: `${dtype} [${shape}]` });
}

interface Claim {
  readonly tensor: string;
  readonly payload: Payload;
}

function checkPayloads(files: OpenFiles, metadata: DcpMetadata): Map<string, ByteSource> {
  const claims = new Map<string, Claim[]>();
  const claim = (tensor: string, payload: Payload): void => {
    const ofFile = claims.get(payload.file);
    if (ofFile === undefined) claims.set(payload.file, [{ tensor, payload }]);
    else ofFile.push({ tensor, payload });
  };
  for (const [name, { chunks }] of metadata.tensors) for (const chunk of chunks) claim(name, chunk.payload);
  for (const [name, payload] of metadata.bytes) claim(name, payload);
  const sources = new Map<string, ByteSource>();
  for (const [file, ofFile] of claims) {
    const source = files.open(file, file);
    sources.set(file, source);
    checkClaims(source, ofFile);
  }
  return sources;
}

function checkClaims(source: ByteSource, claims: readonly Claim[]): void {
  let end = 0;
  for (const { tensor, payload } of claims.toSorted((a, b) => a.payload.offset - b.payload.offset)) {
    const where: Where = { file: source.name, tensor };
    if (payload.offset + payload.length > source.byteLength) {
      throw refuse(where, "DCP_FILE_TRUNCATED", "the file ends before its data do", {
        expected: `at least ${payload.offset + payload.length} bytes`,
        found: `${source.byteLength} bytes`,
        help: "copy the file again; it is shorter than when it was saved",
      });
    }
    if (payload.offset < end) throw refuse(where, "DCP_PAYLOAD_OVERLAP", "shares bytes of the file with another entry");
    end = payload.offset + payload.length;
  }
}
